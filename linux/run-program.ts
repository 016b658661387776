import { spawn } from "node:child_process";

/** How a program ended. */
export interface Ended {
  readonly code: number;
  /** What it said on standard output. */
  readonly output: string;
  /** What it said on both, as it came: for people. */
  readonly said: string;
}

/** How a program is run. */
export interface ProgramOptions {
  /** It is killed after that, with all it has started. */
  readonly timeoutMs: number;
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A program could not be run to its end. */
export class ProgramError extends Error {
  override readonly name = "ProgramError";
  readonly code: "missing" | "late" | "failed";

  constructor(code: ProgramError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** How long the end of a program that was killed is waited for. */
const endMs = 2_000;
const maxOutputBytes = 64 * 1_024;

/**
 * Runs a program of the node to its end, in a process group of its own, so that it can be ended with its children.
 * One that cannot be ended, such as a mount whose server does not answer, is left behind: nobody waits for it.
 * @throws {ProgramError} `missing` when there is no such program, `late` after its time.
 * @throws the signal's reason.
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  { timeoutMs, input = "", cwd, env = {} }: ProgramOptions,
  signal: AbortSignal,
): Promise<Ended> {
  signal.throwIfAborted();
  const child = spawn(program, [...args], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let output = "";
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString("utf8")).slice(0, maxOutputBytes);
  });
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-maxOutputBytes);
    });
  child.on("error", (cause) => {
    const isMissing = "code" in cause && cause.code === "ENOENT";
    const why = isMissing ? "this node has no such program; install it" : cause.message;
    reject(new ProgramError(isMissing ? "missing" : "failed", `cannot run "${program}": ${why}`, { cause }));
  });
  child.on("close", (code, killedBy) => {
    if (code !== null) return resolve(code);
    reject(new ProgramError("failed", `"${program}" was ended by ${killedBy ?? "a signal"}: ${said.trim()}`));
  });
  child.stdin.on("error", () => undefined); // a program may end without reading
  child.stdin.end(input);
  const end = (why: unknown): void => {
    // Two of the same at a time could do harm, so its end is waited for; not for ever.
    const giveUp = setTimeout(() => reject(why), endMs);
    child.once("exit", () => reject(why)).once("close", () => clearTimeout(giveUp));
    if (child.pid !== undefined) killGroup(child.pid);
    // The streams of one that cannot be killed would keep this process alive.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
    child.unref();
  };
  const timer = setTimeout(() => {
    const after = `has not ended after ${Math.round(timeoutMs / 1_000)}s`;
    end(new ProgramError("late", `"${program}" ${after}${said === "" ? "" : `: ${said.trim()}`}`));
  }, timeoutMs);
  const stop = (): void => end(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return { code: await promise, output, said };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended just now.
  }
}
