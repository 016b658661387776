import { readFile } from "node:fs/promises";
import { MS, mount, unmount } from "./libc.ts";

/** The mount points of this mount namespace, in the order they were mounted. */
export async function mountPoints(): Promise<readonly string[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The mount points in the text of `/proc/<pid>/mountinfo` (proc(5)), unescaped. */
export function parseMountInfo(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    );
}

/** Mounts a tmpfs. @param options such as `size=64m,mode=0777`. */
export function mountTmpfs(target: string, options: string): void {
  mount("tmpfs", target, "tmpfs", MS.nosuid | MS.nodev, options);
}

/** Binds `source` (a directory, or a file on a file) onto `target`. */
export function bindMount(source: string, target: string): void {
  mount(source, target, "", MS.bind);
}

/** Unmounts everything at or below a directory, the deepest first. What is busy is detached lazily. */
export async function unmountBelow(directory: string): Promise<void> {
  const below = (await mountPoints()).filter((point) => isWithin(directory, point));
  for (const point of below.toReversed()) {
    try {
      unmount(point);
    } catch {
      unmount(point, { lazy: true });
    }
  }
}

/** Whether `inner` is `outer` or below it. Both absolute and normal. */
export function isWithin(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith("/") ? outer : `${outer}/`);
}
