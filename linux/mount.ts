import { lstat, readFile, realpath } from "node:fs/promises";
import path from "node:path";
import { LibcError, MS, mount, unmount } from "./libc.ts";

/** One mount of this mount namespace (proc(5), `/proc/<pid>/mountinfo`). */
export interface MountEntry {
  /** `major:minor` of the file system. */
  readonly device: string;
  /** What of the file system is mounted: `/` for all of it. */
  readonly root: string;
  readonly point: string;
  /** Of this mount: `ro,nosuid`. */
  readonly options: readonly string[];
  readonly propagation: "private" | "shared" | "slave";
  readonly type: string;
  readonly source: string;
}

/** Every mount of this mount namespace, in the order they were mounted. */
export async function readMounts(): Promise<readonly MountEntry[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The mount points of this mount namespace, in the order they were mounted. */
export async function mountPoints(): Promise<readonly string[]> {
  return (await readMounts()).map(({ point }) => point);
}

/** The text of `/proc/<pid>/mountinfo`, unescaped. */
export function parseMountInfo(text: string): readonly MountEntry[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ");
      const [, , device = "", root = "", point = "", options = "", ...tags] = before.split(" ");
      const [type = "", source = ""] = after.split(" ");
      return {
        device,
        root: unescapeOctal(root),
        point: unescapeOctal(point),
        options: options.split(","),
        propagation: tags.some((tag) => tag.startsWith("shared:"))
          ? "shared"
          : tags.some((tag) => tag.startsWith("master:"))
            ? "slave"
            : "private",
        type,
        source: unescapeOctal(source),
      };
    });
}

/**
 * Mounts a tmpfs that is never written to swap where the kernel can do so (since 6.4).
 * @param options such as `size=64m,mode=0777`.
 */
export function mountTmpfs(target: string, options: string): void {
  const flags = MS.nosuid | MS.nodev;
  try {
    mount("tmpfs", target, "tmpfs", flags, `${options},noswap`);
  } catch (cause) {
    if (!(cause instanceof LibcError && cause.code === "EINVAL")) throw cause;
    mount("tmpfs", target, "tmpfs", flags, options);
  }
}

/**
 * Mounts a hugetlbfs of pages of this size in bytes.
 * @param options such as `mode=0777`.
 * @throws LibcError `EINVAL` for a size the kernel has not.
 */
export function mountHugePages(target: string, pageBytes: number, options: string): void {
  mount("nodev", target, "hugetlbfs", MS.nosuid | MS.nodev, `pagesize=${pageBytes},${options}`);
}

/** Binds `source` (a directory, or a file on a file) onto `target`. */
export function bindMount(source: string, target: string): void {
  mount(source, target, "", MS.bind);
}

/** Directories over each other, the first on top, to be read only: no programs, devices or foreign users of theirs. */
export function mountReadOnlyOverlay(layers: readonly string[], target: string): void {
  const lower = layers.map((layer) => layer.replaceAll(/[\\:,]/g, "\\$&")).join(":");
  mount("overlay", target, "overlay", MS.rdonly | MS.nosuid | MS.nodev | MS.noexec, `lowerdir=${lower}`);
}

/** Whether another file system begins at this directory; a bind of the same one is not seen. */
export async function isFileSystemRoot(directory: string): Promise<boolean> {
  const [own, above] = await Promise.all([lstat(directory), lstat(path.dirname(directory))]);
  return own.dev !== above.dev;
}

/**
 * Unmounts everything at or below a directory, the deepest first.
 * @throws Error that names the first mount that stays, such as one that is in use; all others have been tried.
 */
export async function unmountBelow(directory: string): Promise<void> {
  let fault: unknown;
  for (const point of (await mountPointsBelow(directory)).toReversed()) {
    try {
      unmount(point);
    } catch (cause) {
      fault ??= cause;
    }
  }
  if (fault !== undefined) throw fault;
}

/**
 * The mount points at or below a directory, in the order they were mounted. The kernel's table has no symbolic
 * links: a directory that is reached by one is found too.
 */
export async function mountPointsBelow(directory: string): Promise<readonly string[]> {
  const real = await withoutLinks(directory);
  if (real === undefined) return []; // nothing can be mounted where nothing is
  return (await mountPoints()).filter((point) => isWithin(real, point));
}

/** What is mounted at this very place, the topmost when there are several; undefined for nothing. */
export async function mountAt(place: string): Promise<MountEntry | undefined> {
  const real = await withoutLinks(place);
  return (await readMounts()).findLast(({ point }) => point === real);
}

/** The path with links above its last name followed: the last one is not touched, a server may not answer for it. */
async function withoutLinks(place: string): Promise<string | undefined> {
  const above = await realpath(path.dirname(place)).catch(() => undefined);
  return above === undefined ? undefined : path.join(above, path.basename(place));
}

/** Whether `inner` is `outer` or below it. Both absolute and normal. */
export function isWithin(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith("/") ? outer : `${outer}/`);
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
