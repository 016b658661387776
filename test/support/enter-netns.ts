import { closeSync, openSync } from "node:fs";
import { CLONE, setns } from "#linux/libc.ts";

/** Moves this thread into a named network namespace, for good: sockets opened from now on live there. */
export function enterNetns(name: string): void {
  const fd = openSync(`/run/netns/${name}`, "r");
  setns(fd, CLONE.newnet);
  closeSync(fd);
}
