import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { errorText, type Log } from "#lib/log.ts";
import { isMissing } from "#lib/read-if-there.ts";
import type { Sysctl } from "../plan/sysctls.ts";

/**
 * Sets what differs. Nothing here is worth not proxying for: a value that cannot be set (in a container, without
 * the conntrack module) is logged with what it should be, and the rest goes on.
 */
export async function writeSysctls(
  sysctls: readonly Sysctl[],
  log: Log,
  root: string = "/proc/sys",
): Promise<void> {
  for (const { path: name, value, onlyRaise, mayLack } of sysctls) {
    const file = path.join(root, name);
    try {
      const now = Number((await readFile(file, "utf8")).trim());
      if (now === value || (onlyRaise && now > value)) continue;
      await writeFile(file, String(value));
      log.info("set a kernel setting", { name: name.replaceAll("/", "."), from: now, to: value });
    } catch (cause) {
      const absent = isMissing(cause);
      if (absent && mayLack === true) continue;
      log.warn("cannot set a kernel setting", {
        name: name.replaceAll("/", "."),
        value,
        cause: errorText(cause),
      });
    }
  }
}
