import { lstat, opendir, readFile, stat, statfs } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "#lib/read-if-there.ts";
import { mountAt } from "#linux/mount.ts";
import { runProgram } from "#linux/run-program.ts";
import type { VolumeStats } from "./volume-plugin.ts";

/** Entries at which counting ends: a volume of more says only what its file system says. */
const entryLimit = 2_000_000;
/** File systems whose server may never answer: those are asked by a process that can be left behind. */
const remote = /^(nfs|cifs|smb|fuse|ceph|9p)/;
const remoteMs = 5_000;

/**
 * What a volume's directory holds. Where a file system of its own is mounted, what statfs(2) says of it; else the
 * disk's numbers, and as used what is below the directory, as du(1) counts.
 */
export async function directoryStats(directory: string, signal: AbortSignal): Promise<VolumeStats> {
  const own = await mountAt(directory);
  if (own !== undefined && remote.test(own.type)) return await statsByProgram(directory, signal);
  const disk = await statfs(directory);
  const whole = {
    capacityBytes: disk.blocks * disk.bsize,
    availableBytes: disk.bavail * disk.bsize,
    usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
    inodes: disk.files,
    inodesFree: disk.ffree,
    inodesUsed: disk.files - disk.ffree,
    source: "statfs",
  };
  if (own !== undefined) return whole;
  const used = await usage(directory, signal);
  return used === undefined
    ? whole
    : { ...whole, usedBytes: used.bytes, inodesUsed: used.inodes, source: "du" };
}

/** What the kernel says of a block device: its size alone. @see sysfs-block: sectors of 512 bytes. */
export async function deviceStats(device: string): Promise<VolumeStats> {
  const { rdev } = await stat(device);
  // makedev(3) of Linux, with the 12 bits of major that are in use.
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  const sectors = Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, "utf8"));
  return { capacityBytes: sectors * 512, source: "block" };
}

/** Bytes and inodes below a directory, itself included; another file system that is mounted in it is not counted. */
async function usage(
  directory: string,
  signal: AbortSignal,
): Promise<{ readonly bytes: number; readonly inodes: number } | undefined> {
  const top = await lstat(directory);
  const seen = new Set<number>(); // inodes with several names
  let bytes = top.blocks * 512;
  let inodes = 1;
  const open = [directory];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const entries = await opendir(at).catch(goneOrThrow);
    if (entries === undefined) continue;
    for await (const { name } of entries) {
      signal.throwIfAborted();
      if (inodes > entryLimit) return undefined;
      const file = path.join(at, name);
      const info = await lstat(file).catch(goneOrThrow);
      if (info === undefined || info.dev !== top.dev || seen.has(info.ino)) continue;
      if (info.nlink > 1 && !info.isDirectory()) seen.add(info.ino);
      bytes += info.blocks * 512;
      inodes += 1;
      if (info.isDirectory()) open.push(file);
    }
  }
  return { bytes, inodes };
}

/** The Pod goes on while its volume is counted. */
function goneOrThrow(cause: unknown): undefined {
  if (!isMissing(cause)) throw cause;
}

async function statsByProgram(directory: string, signal: AbortSignal): Promise<VolumeStats> {
  const format = "%S %b %f %a %c %d"; // block size; blocks: all, free, available; inodes: all, free
  const { code, said, output } = await runProgram(
    "stat",
    ["--file-system", `--format=${format}`, directory],
    { timeoutMs: remoteMs },
    signal,
  );
  const numbers = output.trim().split(" ").map(Number);
  if (code !== 0 || numbers.length !== 6) throw new Error(`cannot read the size of "${directory}": ${said}`);
  const [size = 0, blocks = 0, free = 0, available = 0, inodes = 0, inodesFree = 0] = numbers;
  return {
    capacityBytes: blocks * size,
    availableBytes: available * size,
    usedBytes: (blocks - free) * size,
    inodes,
    inodesFree,
    inodesUsed: inodes - inodesFree,
    source: "statfs",
  };
}
