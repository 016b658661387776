import path from "node:path";
import { readIfThere } from "#lib/read-if-there.ts";

/**
 * The label that this node gives to files of containers, `system_u:object_r:container_file_t:s0`.
 * @param root "/" but in tests.
 * @returns undefined where SELinux is off.
 * @see selinux_config(5), lxc_contexts(5)
 */
export async function seLinuxFileLabel(root: string = "/"): Promise<string | undefined> {
  const isOn = (await readIfThere(path.join(root, "sys/fs/selinux/enforce"))) !== undefined;
  if (!isOn) return undefined;
  const config = (await readIfThere(path.join(root, "etc/selinux/config"))) ?? "";
  const policy = /^\s*SELINUXTYPE\s*=\s*([\w-]+)/m.exec(config)?.[1] ?? "targeted";
  const contexts = await readIfThere(path.join(root, "etc/selinux", policy, "contexts/lxc_contexts"));
  return /^\s*file\s*=\s*"([^":]+:[^":]+:[^":]+:[^"]+)"/m.exec(contexts ?? "")?.[1];
}
