import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { ExecInspectInfo } from "dockerode";
import { collectOutput } from "../collect-output.ts";
import { type ExecResult, type ExecSyncOptions, RuntimeError } from "../runtime.ts";
import { demultiplex } from "./demultiplex.ts";
import { toRuntimeError } from "./docker-error.ts";

const pollMs = 50;
/** How long Docker may take to tell the pid of a command that is to be ended. */
const endMs = 2_000;

/** A command that Docker knows; `open` starts it. */
export interface DockerExec {
  readonly open: (signal: AbortSignal) => Promise<Duplex>;
  readonly inspect: (signal: AbortSignal) => Promise<ExecInspectInfo>;
  readonly resize: (size: { readonly width: number; readonly height: number }) => Promise<void>;
}

/**
 * Runs a command in a container to its end. Its time begins before Docker is asked for anything: a Docker that
 * hangs in any step is not waited for.
 * @throws {RuntimeError} `timeout` for a command that took too long and was ended, `unavailable` when it was Docker
 * that said nothing.
 */
export async function execToEnd(
  what: string,
  create: (signal: AbortSignal) => Promise<DockerExec>,
  options: ExecSyncOptions,
  signal: AbortSignal,
): Promise<ExecResult> {
  signal.throwIfAborted();
  const late = options.timeoutMs === 0 ? [] : [AbortSignal.timeout(options.timeoutMs)];
  const either = AbortSignal.any([signal, ...late]);
  let exec: DockerExec | undefined;
  let socket: Duplex | undefined;
  const run = async (): Promise<ExecResult> => {
    exec = await create(either);
    socket = await exec.open(either);
    const output = demultiplex(socket);
    const [stdout, stderr] = await Promise.all([
      collectOutput(output.stdout, options.maxOutputBytes),
      collectOutput(output.stderr, options.maxOutputBytes),
    ]);
    return { exitCode: await exitCodeOf(exec, either), stdout, stderr };
  };
  const over = Promise.withResolvers<never>();
  const onOver = (): void => over.reject(either.reason);
  either.addEventListener("abort", onOver, { once: true });
  try {
    const result = await Promise.race([run(), over.promise]);
    // Docker's own words in place of the command's: what it stands on had gone before the command began.
    if (result.exitCode !== 0 && Buffer.from(result.stdout).toString("utf8").endsWith(": unavailable\r\n"))
      throw new RuntimeError("unavailable", `cannot ${what}: Docker is going away`);
    return result;
  } catch (cause) {
    if (!either.aborted) throw toRuntimeError(what, cause);
    if (exec === undefined && !signal.aborted)
      throw new RuntimeError("unavailable", `cannot ${what}: Docker said nothing in ${options.timeoutMs} ms`);
    const away = exec === undefined ? undefined : await endExec(exec, socket !== undefined);
    signal.throwIfAborted();
    // A Docker that is being restarted says nothing: it was not the command that took too long.
    if (away !== undefined) throw new RuntimeError("unavailable", `cannot ${what}: ${away}`, { cause });
    throw new RuntimeError("timeout", `cannot ${what}: it did not end in ${options.timeoutMs} ms`);
  } finally {
    either.removeEventListener("abort", onOver);
    socket?.destroy();
  }
}

/** The code is there a moment after the streams have ended. */
export async function exitCodeOf(exec: Pick<DockerExec, "inspect">, signal: AbortSignal): Promise<number> {
  for (;;) {
    const info = await exec.inspect(signal);
    if (!info.Running) return info.ExitCode ?? 0;
    await delay(pollMs, undefined, { signal });
  }
}

/**
 * Docker cannot end what it runs by exec; the pid it tells is the machine's, and leads a group of its own.
 * @returns why Docker and not the command is to blame, if it is.
 */
async function endExec(exec: DockerExec, hasBegun: boolean): Promise<string | undefined> {
  try {
    const { Pid: pid, Running: isRunning } = await exec.inspect(AbortSignal.timeout(endMs));
    if (isRunning && pid > 0) process.kill(-pid, "SIGKILL");
    else if (hasBegun) return "Docker does not run it, and does not tell its end";
    return undefined;
  } catch {
    // Docker is away; or the command has ended, and a Docker that is about to go does not tell.
    return "Docker does not tell what became of it";
  }
}
