import { readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";

/** The node's name when none is asked for: the host's, in lower case, as kubelet takes it. */
export function defaultNodeName(): string {
  return os.hostname().toLowerCase();
}

/**
 * This machine's address when none is asked for: that of the interface of the default route, else the first
 * global IPv4 address.
 * @throws Error when there is none.
 */
export async function defaultNodeIp(): Promise<string> {
  const routes = await readFile("/proc/net/route", "utf8");
  const [device] =
    routes
      .split("\n")
      .slice(1)
      .map((line) => line.split("\t"))
      .find((fields) => fields[1] === "00000000") ?? [];
  const interfaces = Object.entries(os.networkInterfaces());
  const ordered = [...interfaces.filter(([name]) => name === device), ...interfaces];
  for (const [name, addresses] of ordered) {
    if (/^(cni|docker|flannel|veth|br-)/.test(name)) continue;
    const address = addresses?.find((candidate) => candidate.family === "IPv4" && !candidate.internal);
    if (address !== undefined) return address.address;
  }
  throw new Error("cannot find this machine's address: no interface has an IPv4 address; give --node-ip");
}

/** True when something accepts connections on the socket. */
export async function answers(endpoint: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = net.connect(endpoint.replace(/^unix:\/\//, ""));
  socket.setTimeout(2_000, () => resolve(false));
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** True when nothing listens on the TCP port yet. */
export async function isPortFree(port: number, host = "0.0.0.0"): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = net.createServer();
  server.once("error", () => resolve(false));
  server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  return await promise;
}

/** The first of the usual runtimes whose socket answers. */
export const criSockets: readonly string[] = [
  "unix:///run/containerd/containerd.sock",
  "unix:///run/crio/crio.sock",
];

/** Whether the kernel lets this process lower its oom_score_adj: it needs CAP_SYS_RESOURCE. Tried, and put back. */
export async function mayLowerOomScore(): Promise<boolean> {
  const file = "/proc/self/oom_score_adj";
  const before = await readFile(file, "utf8");
  try {
    await writeFile(file, "-998");
    await writeFile(file, before.trim());
    return true;
  } catch {
    return false;
  }
}
