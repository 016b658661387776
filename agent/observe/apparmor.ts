import { readFile } from "node:fs/promises";

/** Whether this kernel enforces AppArmor. It is decided when the machine boots. */
export async function enforcesAppArmor(
  file: string = "/sys/module/apparmor/parameters/enabled",
): Promise<boolean> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.startsWith("Y");
}

/**
 * Whether the kernel has this AppArmor profile loaded.
 * @returns undefined when it does not say, such as where securityfs is not mounted.
 */
export async function hasAppArmorProfile(
  name: string,
  file: string = "/sys/kernel/security/apparmor/profiles",
): Promise<boolean | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  // A line is `name (mode)`; names may have blanks and brackets of their own.
  return text?.split("\n").some((line) => line.replace(/ \([^()]*\)$/, "") === name);
}
