import fs from "node:fs";
import path from "node:path";
import { CLONE, MS, mount, setns, unmount, unshare } from "./libc.ts";

/** Where `ip netns` keeps its namespaces. */
const directory = "/run/netns";
/** The calling thread's own namespace: libuv's other threads stay where the process started. */
const own = "/proc/thread-self/ns/net";

/**
 * Runs `step` in another network namespace and comes back. `step` must be synchronous: an await inside would let
 * the rest of the program run in the wrong namespace. Sockets opened inside stay in that namespace for life.
 * @param netns `/run/netns/NAME`, `/proc/PID/ns/net`, or a descriptor of one.
 * @throws what `step` throws; the error of open(2) or setns(2) when the namespace is gone.
 */
export function inNetns<T>(netns: string | number, step: () => T): T {
  const home = fs.openSync(own, "r");
  try {
    const target = typeof netns === "number" ? netns : fs.openSync(netns, "r");
    try {
      setns(target, CLONE.newnet);
      return step();
    } finally {
      setns(home, CLONE.newnet);
      if (typeof netns === "string") fs.closeSync(target);
    }
  } finally {
    fs.closeSync(home);
  }
}

/**
 * Makes a network namespace with a name, as `ip netns add` does; its `lo` is down.
 * @returns its path. @throws {LibcError}; EEXIST from open(2) when the name is taken.
 */
export function createNetns(name: string): string {
  fs.mkdirSync(directory, { recursive: true });
  const file = path.join(directory, name);
  fs.closeSync(fs.openSync(file, "wx"));
  const home = fs.openSync(own, "r");
  try {
    unshare(CLONE.newnet);
    try {
      mount(own, file, "none", MS.bind);
    } finally {
      setns(home, CLONE.newnet);
    }
  } catch (cause) {
    fs.unlinkSync(file);
    throw cause;
  } finally {
    fs.closeSync(home);
  }
  return file;
}

/** Removes a name made by {@link createNetns}; the namespace goes with its last user. One that is gone is no error. */
export function deleteNetns(name: string): void {
  const file = path.join(directory, name);
  if (!fs.existsSync(file)) return;
  try {
    unmount(file, { lazy: true });
  } catch {
    // Not mounted: a leftover of a creation that failed.
  }
  fs.unlinkSync(file);
}

/** Whether two paths or descriptors are the same namespace: device and inode of nsfs. */
export function isSameNetns(a: string | number, b: string | number): boolean {
  const [one, other] = [a, b].map((netns) =>
    typeof netns === "number" ? fs.fstatSync(netns) : fs.statSync(netns),
  );
  return one?.ino === other?.ino && one?.dev === other?.dev;
}
