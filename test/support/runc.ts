import { readFileSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";

const known = 41; // CAP_CHECKPOINT_RESTORE, 40, is the last (capabilities(7))
const names: Readonly<Record<number, string>> = {
  12: "CAP_NET_ADMIN",
  16: "CAP_SYS_MODULE",
  17: "CAP_SYS_RAWIO",
  19: "CAP_SYS_PTRACE",
  21: "CAP_SYS_ADMIN",
  22: "CAP_SYS_BOOT",
  23: "CAP_SYS_NICE",
  24: "CAP_SYS_RESOURCE",
  25: "CAP_SYS_TIME",
};

/** The capabilities that no process of this machine can have: in a virtual machine or a container there may be some. */
export function missingCapabilities(): readonly string[] {
  const bounds = /^CapBnd:\t(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  const have = BigInt(`0x${bounds}`);
  const missing = Array.from({ length: known }, (_, bit) => bit).filter(
    (bit) => (have & (1n << BigInt(bit))) === 0n,
  );
  return missing.map((bit) => names[bit] ?? `CAP_${bit}`);
}

/**
 * A second runtime for a daemon to offer: runc under another name, that writes to `<directory>/<name>.calls` what it
 * was called with. A privileged container asks for every capability there is, and runc gives all or nothing: it
 * leaves out what this machine does not have.
 * @returns the program's path.
 */
export async function otherRunc(directory: string, name: string): Promise<string> {
  const program = path.join(directory, name);
  const edits = missingCapabilities().map((one) => `-e 's/"${one}",//g' -e 's/,"${one}"//g'`);
  const edit = edits.length === 0 ? ":" : `sed -i ${edits.join(" ")} "$2/config.json"`;
  const script = `#!/bin/sh
echo "$*" >>"${program}.calls"
prepare() { while [ $# -gt 1 ]; do [ "$1" = --bundle ] && ${edit}; shift; done; }
prepare "$@"
exec runc "$@"
`;
  await writeFile(program, script);
  await chmod(program, 0o755);
  return program;
}
