import { spawn } from "node:child_process";
import { parseSave, type SavedTable } from "./iptables-save.ts";

/** Seconds to wait for another program that holds the xtables lock. */
const lockWaitSeconds = "5";
/** Most that is read from a command, in bytes: a table of 200,000 rules is about 40 MB. */
const maxOutputBytes = 256 * 1024 * 1024;
/** Longest a command may take: a first load of 10,000 Services takes half a minute with the nft backend. */
const timeoutMs = 120_000;

/** `refused`: the kernel or the tool did not take it; `missing`: the program is not there. */
export class IptablesError extends Error {
  override readonly name = "IptablesError";
  readonly code: "refused" | "missing";
  constructor(code: IptablesError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The packet filter of one family, as far as the proxy needs it. */
export interface Iptables {
  /** The chains and rules of one table. */
  save(table: string, signal: AbortSignal): Promise<SavedTable>;
  /**
   * Runs a script in iptables-save's form. Chains it names are flushed, all others stay. Each table is
   * changed at once or not at all.
   * @throws {IptablesError} `refused`, with the line that was not taken.
   */
  restore(script: string, signal: AbortSignal): Promise<void>;
  /** The rules of one chain, without `-A <chain> `; undefined when there is no such chain. */
  listChain(table: string, chain: string, signal: AbortSignal): Promise<readonly string[] | undefined>;
}

/** Which programs are run: `iptables` is what the system chose; the others name a backend. */
export interface IptablesCommands {
  readonly family: 4 | 6;
  readonly backend?: "default" | "legacy" | "nft";
}

/** The machine's own iptables programs. */
export function systemIptables(commands: IptablesCommands): Iptables {
  const base = commands.family === 4 ? "iptables" : "ip6tables";
  const prefix =
    commands.backend === undefined || commands.backend === "default" ? base : `${base}-${commands.backend}`;
  return {
    save: async (table, signal) => {
      const { stdout } = await run(`${prefix}-save`, ["-t", table], "", signal);
      return parseSave(stdout).get(table) ?? new Map();
    },
    restore: async (script, signal) => {
      await run(`${prefix}-restore`, ["-w", lockWaitSeconds, "--noflush", "--counters"], script, signal);
    },
    listChain: async (table, chain, signal) => {
      try {
        const { stdout } = await run(prefix, ["-w", lockWaitSeconds, "-t", table, "-S", chain], "", signal);
        const start = `-A ${chain} `;
        return stdout
          .split("\n")
          .filter((line) => line.startsWith(start))
          .map((line) => line.slice(start.length));
      } catch (cause) {
        if (cause instanceof IptablesError && cause.code === "refused" && !signal.aborted) return undefined;
        throw cause;
      }
    },
  };
}

/** What the tool says of itself: `iptables v1.8.9 (nf_tables)`. */
export async function iptablesVersion(family: 4 | 6, signal: AbortSignal): Promise<string> {
  const { stdout } = await run(family === 4 ? "iptables" : "ip6tables", ["--version"], "", signal);
  return stdout.trim();
}

/**
 * True when rules of both backends are loaded: each sees only its own, so packets meet rules nobody lists.
 * Uses what nft's iptables says about the other on its error output.
 */
export async function hasBothBackends(family: 4 | 6, signal: AbortSignal): Promise<boolean> {
  try {
    const { stderr } = await run(
      family === 4 ? "iptables-nft" : "ip6tables-nft",
      ["-t", "nat", "-S", "PREROUTING"],
      "",
      signal,
    );
    return stderr.includes("legacy tables present");
  } catch {
    return false;
  }
}

/** Gives a script to `iptables-restore --test`, which parses it and commits nothing. */
export async function testScript(family: 4 | 6, script: string, signal: AbortSignal): Promise<void> {
  const program = family === 4 ? "iptables-restore" : "ip6tables-restore";
  await run(program, ["-w", lockWaitSeconds, "--noflush", "--counters", "--test"], script, signal);
}

async function run(
  program: string,
  args: readonly string[],
  input: string,
  signal: AbortSignal,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  signal.throwIfAborted();
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], timeout: timeoutMs });
  // Not killed by the signal: a write that has begun is let to its end, and takes milliseconds.
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", (cause) =>
    reject(
      new IptablesError(
        "missing",
        `cannot run "${program}": ${cause.message}; install the iptables package`,
        {
          cause,
        },
      ),
    ),
  );
  child.once("close", (code, killedBy) => resolve(killedBy === null ? (code ?? 1) : 1));
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin.on("error", () => undefined); // The program ended early; its exit code says why.
  child.stdin.end(input);
  const code = await promise;
  if (code !== 0) {
    const said = stderr().trim();
    const line = /line:? (\d+)/i.exec(said)?.[1];
    const text = line === undefined ? undefined : input.split("\n")[Number(line) - 1];
    throw new IptablesError(
      "refused",
      `cannot run "${[program, ...args].join(" ")}": ${said === "" ? `it ended with ${code}` : said}${text === undefined ? "" : `; that line is "${text}"`}`,
    );
  }
  return { stdout: stdout(), stderr: stderr() };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= maxOutputBytes) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
