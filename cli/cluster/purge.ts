import { execFile } from "node:child_process";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { systemIptables } from "#linux/iptables.ts";
import { unmount } from "#linux/libc.ts";
import { deleteLink, listLinks } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { removeAllRules } from "../../proxy/apply/iptables/rule-writer.ts";
import { conflistName } from "../node/pod-network.ts";
import { removePlugins } from "./plugin-files.ts";
import type { UpSettings } from "./settings.ts";
import { remove } from "./state-file.ts";

const run = promisify(execFile);

/**
 * Removes what is left of a stopped cluster: rules, devices, mounts, control groups, files.
 * Only what is ours by name; a runtime that was there before us keeps its own.
 */
export async function purge(settings: UpSettings, signal: AbortSignal): Promise<void> {
  await removeAllRules(systemIptables({ family: 4 }), signal);
  // A kernel without IPv6 has no rules of that family either.
  await removeAllRules(systemIptables({ family: 6 }), signal).catch(() => undefined);
  await removeOtherRules("iptables", signal);
  await removeOtherRules("ip6tables", signal).catch(() => undefined);
  await removeDevices();
  const folders = [settings.rootDir, settings.dataDir, settings.runDir, settings.logDir, settings.configDir];
  await unmountBelow(folders);
  removeCgroups(settings.cgroupRoot);
  for (const folder of folders) await removeContents(folder);
  for (const file of [
    `/etc/cni/net.d/${conflistName}`,
    "/run/flannel/subnet.env",
    "/var/lib/cni/results",
    "/var/lib/cni/keelson",
  ]) {
    await remove(file);
  }
  await removePlugins();
  await removeContents("/var/log/pods");
  await removeContents("/var/log/containers");
}

/** What the proxy does not clean by itself: chains of the CNI plugin and the overlay, and the jumps to them. */
async function removeOtherRules(program: "iptables" | "ip6tables", signal: AbortSignal): Promise<void> {
  // KUBE-FIREWALL is shared with kubelet, so the proxy alone leaves it; here there is no kubelet.
  const ours = /^(CNI-|FLANNEL-|KUBE-)/;
  for (const table of ["nat", "filter", "mangle"]) {
    const { stdout } = await run(`${program}-save`, ["-t", table], { signal, maxBuffer: 64 * 1024 * 1024 });
    const lines = stdout.split("\n");
    const chains = lines
      .flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? [])
      .filter((chain) => ours.test(chain));
    if (chains.length === 0) continue;
    const jumps = lines.filter((line) => {
      const [, from = "", to = ""] = /^-A (\S+) .*-[jg] (\S+)/.exec(line) ?? [];
      return ours.test(to) && !ours.test(from);
    });
    const script = [
      `*${table}`,
      ...jumps.map((line) => line.replace(/^-A/, "-D")),
      ...chains.map((chain) => `-F ${chain}`),
      ...chains.map((chain) => `-X ${chain}`),
      "COMMIT\n",
    ].join("\n");
    const child = run(`${program}-restore`, ["--noflush", "-w", "5"], { signal });
    child.child.stdin?.end(script);
    await child;
  }
}

async function removeDevices(): Promise<void> {
  using socket = new NetlinkSocket();
  for (const link of listLinks(socket)) {
    if (link.name === "cni0" || /^flannel\.\d+$/.test(link.name)) await deleteLink(socket, link.index);
  }
}

/** Deepest first; a mount that is busy is detached and goes when its last user does. */
async function unmountBelow(folders: readonly string[]): Promise<void> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  const targets = table.split("\n").map((line) => line.split(" ")[4] ?? "");
  const ours = targets.filter((target) => folders.some((folder) => target.startsWith(`${folder}/`)));
  for (const target of ours.toSorted((a, b) => b.length - a.length))
    unmount(unescape(target), { lazy: true });
}

/** proc(5): blanks in paths are written as `\040`. */
function unescape(target: string): string {
  return target.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

function removeCgroups(root: string): void {
  const mounts = ["", ...readdirSync("/sys/fs/cgroup")].map((name) =>
    path.join("/sys/fs/cgroup", name, root),
  );
  for (const mount of mounts)
    for (const name of ["kubepods", "kubepods.slice"]) removeCgroup(path.join(mount, name));
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(path.join(folder, entry.name));
  }
  rmdirSync(folder);
}

/** The folder itself may be a mount point that somebody made for us: it stays when it cannot go. */
async function removeContents(folder: string): Promise<void> {
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries) await remove(path.join(folder, entry));
  try {
    rmdirSync(folder);
  } catch {
    // A mount point, or gone already.
  }
}
