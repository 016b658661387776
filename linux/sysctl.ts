import fs from "node:fs";
import path from "node:path";
import { isMissing } from "#lib/read-if-there.ts";

/**
 * Kernel settings by path (`net/ipv4/ip_forward`, not with dots: a link's name may contain one).
 * Those under `net/` are the calling thread's network namespace's: see {@link inNetns}.
 */
const root = "/proc/sys";

/** @returns undefined when this kernel has no such setting. */
export function readSysctl(name: string): string | undefined {
  try {
    return fs.readFileSync(path.join(root, name), "utf8").trim();
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
}

/**
 * Writes a setting when it differs.
 * @returns false when this kernel has no such setting (a module that is not loaded, IPv6 switched off).
 * @throws the error of write(2): a read-only /proc/sys in a container, or a value out of range.
 */
export function writeSysctl(name: string, value: string): boolean {
  const now = readSysctl(name);
  if (now === undefined) return false;
  if (now !== value) fs.writeFileSync(path.join(root, name), value);
  return true;
}
