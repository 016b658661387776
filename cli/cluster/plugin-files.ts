import { existsSync } from "node:fs";
import path from "node:path";
import { readIfThere } from "#lib/read-if-there.ts";
import { remove, writeWhole } from "./state-file.ts";

const folder = "/opt/cni/bin";
/** What tells our files from another package's of the same name. */
const mark = "# Installed by keelson up";

/**
 * Writes the programs a runtime calls for a Pod's network: `keelson`, which starts our plugin's own small
 * bundle, and `loopback`, which containerd before 2.0 wants beside it. Another package's `loopback` stays.
 * @param program the launcher, beside which the bundle lies.
 */
export async function installPlugins(program: string): Promise<void> {
  const bundle = path.dirname(program);
  const cpu = process.arch === "arm64" ? "arm64" : "x64";
  const node = path.join(bundle, `../node_modules/node-linux-${cpu}/bin/node`);
  await writeWhole(path.join(folder, "keelson"), launcher(node, path.join(bundle, "plugin.cjs")), 0o755);
  const loopback = path.join(folder, "loopback");
  if (!existsSync(loopback)) await writeWhole(loopback, loopbackScript, 0o755);
}

/** Removes what {@link installPlugins} wrote, and nothing else. */
export async function removePlugins(): Promise<void> {
  for (const name of ["keelson", "loopback"]) {
    const file = path.join(folder, name);
    if ((await readIfThere(file))?.includes(mark) === true) await remove(file);
  }
}

function launcher(node: string, plugin: string): string {
  return `#!/bin/sh
${mark}
export NODE_COMPILE_CACHE=/run/keelson/compile-cache UV_THREADPOOL_SIZE=1
exec "${node}" --max-semi-space-size=1 "${plugin}" "$@"
`;
}

/** A shell does this in 5 ms, a Node process in 45: it is called for every Pod. */
const loopbackScript = `#!/bin/sh
${mark}
fail() { printf '{"cniVersion":"0.3.1","code":100,"msg":"cannot bring lo up in %s"}\\n' "$CNI_NETNS"; exit 1; }
case "$CNI_COMMAND" in
ADD)
  nsenter --net="$CNI_NETNS" ip link set lo up 2>/dev/null || fail
  printf '{"cniVersion":"0.3.1","interfaces":[{"name":"lo","mac":"00:00:00:00:00:00","sandbox":"%s"}],"ips":[{"version":"4","interface":0,"address":"127.0.0.1/8"}],"dns":{}}\\n' "$CNI_NETNS"
  ;;
VERSION) echo '{"cniVersion":"0.3.1","supportedVersions":["0.3.0","0.3.1"]}' ;;
esac
`;
