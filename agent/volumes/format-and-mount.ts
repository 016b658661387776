import { ProgramError, runProgram } from "#linux/run-program.ts";
import { mountByProgram } from "./mount-program.ts";

/** A disk that is to show its files. */
export interface DiskMount {
  /** The block device. */
  readonly device: string;
  readonly target: string;
  /** "" for ext4. */
  readonly fsType: string;
  /** A disk that is read-only is never formatted. */
  readonly options: readonly string[];
}

const probeMs = 30_000;
const formatMs = 600_000;
const checkMs = 3_600_000;
const mountMs = 120_000;

/** The answer of blkid(8) for a device on which it finds nothing. */
const nothingFound = 2;
/** What fsck(8) answers when errors are left, and when it cannot work at all. */
const fsck = { errorsLeft: 4, cannot: 8 } as const;

/**
 * Mounts a disk; formats it first when nothing at all is on it, and else has it checked and repaired.
 * @throws Error in the words of the kubelet's event: also for a disk with partitions or another kind of file system,
 *   which are not touched.
 */
export async function formatAndMount(disk: DiskMount, signal: AbortSignal): Promise<void> {
  const { device, target, options } = disk;
  const type = disk.fsType === "" ? "ext4" : disk.fsType;
  const readOnly = options.includes("ro");
  const format = await diskFormat(device, signal);
  if (format === "") {
    if (readOnly)
      throw new Error(`cannot mount unformatted disk ${device} as we are manipulating it in read-only mode`);
    await makeFileSystem(device, type, signal);
  } else if (!readOnly) await check(device, signal);
  try {
    await mountByProgram(
      { source: device, target, type, options: [...options, "defaults"] },
      mountMs,
      signal,
    );
  } catch (cause) {
    if (format === "" || format === type) throw cause;
    throw new Error(
      `failed to mount the volume as "${type}", it already contains ${format}. Mount error: ${errorOf(cause)}`,
      { cause },
    );
  }
}

/**
 * What is on a block device: a file system's name, or "unknown data, probably partitions"; "" for nothing.
 * @throws Error when it cannot be told: then nothing may be written to it.
 */
export async function diskFormat(device: string, signal: AbortSignal): Promise<string> {
  const args = ["-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device];
  const { code, output, said } = await runProgram("blkid", args, { timeoutMs: probeMs }, signal);
  if (code === nothingFound) return "";
  if (code !== 0)
    throw new Error(`cannot tell what is on ${device}: blkid ended with ${code}: ${said.trim()}`);
  const found = new Map(
    output
      .split("\n")
      .map((line) => line.split("="))
      .flatMap(([key = "", value = ""]) => (value === "" ? [] : [[key, value] as const])),
  );
  if (found.has("PTTYPE")) return "unknown data, probably partitions";
  return found.get("TYPE") ?? "";
}

/** The arguments of mkfs(8) for a disk that is only Pods': no blocks are kept for root. */
export function formatArguments(device: string, type: string): readonly string[] {
  if (type === "ext4" || type === "ext3") return ["-F", "-m0", device];
  return type === "xfs" ? ["-f", device] : [device];
}

async function makeFileSystem(device: string, type: string, signal: AbortSignal): Promise<void> {
  const program = `mkfs.${type}`;
  const args = formatArguments(device, type);
  const { code, said } = await runProgram(program, args, { timeoutMs: formatMs }, signal);
  if (code !== 0)
    throw new Error(
      `format of disk "${device}" failed: type:("${type}") errcode:(exit status ${code}) output:(${said.trim()})`,
    );
}

/** A node without fsck goes on without, as with the kubelet. */
async function check(device: string, signal: AbortSignal): Promise<void> {
  try {
    const { code, said } = await runProgram("fsck", ["-a", device], { timeoutMs: checkMs }, signal);
    if ((code & fsck.errorsLeft) !== 0 && code < fsck.cannot)
      throw new Error(`'fsck' found errors on device ${device} but could not correct them: ${said.trim()}`);
  } catch (cause) {
    if (!(cause instanceof ProgramError && cause.code === "missing")) throw cause;
  }
}

function errorOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
