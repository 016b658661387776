import { type Ended, ProgramError, runProgram } from "#linux/run-program.ts";

/** One call of mount(8). */
export interface MountCall {
  readonly source: string;
  readonly target: string;
  /** "" for a bind mount or for mount(8) to find out. */
  readonly type: string;
  readonly options: readonly string[];
}

/**
 * Mounts by mount(8): a child process, because the system call would hold up the whole agent where a server or a disk
 * does not answer, and because file systems of others bring programs of their own (`mount.nfs`).
 * @throws Error in the words of the kubelet's event.
 */
export async function mountByProgram(call: MountCall, timeoutMs: number, signal: AbortSignal): Promise<void> {
  for (const args of mountArguments(call)) {
    const ended = await runProgram("mount", args, { timeoutMs }, signal);
    if (ended.code !== 0) throw new Error(failure("mount", args, ended));
  }
}

/**
 * Unmounts by umount(8).
 * @param options `force` when a server that does not answer is not to be waited for (umount(8), `--force`).
 * @throws Error in the words of the kubelet, also when something uses it.
 */
export async function unmountByProgram(
  target: string,
  timeoutMs: number,
  signal: AbortSignal,
  options: { readonly force?: boolean } = {},
): Promise<void> {
  const run = async (args: readonly string[]): Promise<void> => {
    const ended = await runProgram("umount", args, { timeoutMs }, signal);
    if (ended.code !== 0) throw new Error(failure("unmount", args, ended));
  };
  try {
    await run([target]);
  } catch (cause) {
    const isLate = cause instanceof ProgramError && cause.code === "late";
    if (!isLate || options.force !== true) throw cause;
    await run(["-f", target]);
  }
}

/** A bind mount takes options other than `bind` only when it is mounted anew (mount(8), "Bind mounts"). */
export function mountArguments({ source, target, type, options }: MountCall): readonly (readonly string[])[] {
  const typed = type === "" ? [] : ["-t", type];
  const others = options.filter((option) => option !== "bind");
  if (others.length === options.length)
    return [[...typed, ...(options.length === 0 ? [] : ["-o", options.join(",")]), source, target]];
  const bind = [...typed, "-o", "bind", source, target];
  return others.length === 0
    ? [bind]
    : [bind, [...typed, "-o", ["bind", "remount", ...others].join(","), source, target]];
}

function failure(verb: "mount" | "unmount", args: readonly string[], { code, said }: Ended): string {
  const lines =
    verb === "mount"
      ? [`Mounting command: mount`, `Mounting arguments: ${args.join(" ")}`]
      : [`Unmounting arguments: ${args.join(" ")}`];
  return [`${verb} failed: exit status ${code}`, ...lines, `Output: ${said.trim()}`].join("\n");
}
