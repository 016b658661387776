import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";

/** Places a flow may start from. */
export type Place = "pod-a" | "pod-b" | "node" | "outside";

/** Addresses of the test network; none of them leaves the machine, for no namespace in it has an uplink. */
export const address = {
  podA: "10.244.1.5",
  podB: "10.244.1.6",
  /** A Pod on another node: it lives in `outside`. */
  podC: "10.244.2.7",
  node: "192.168.77.2",
  outside: "192.168.77.1",
} as const;

/** What a host answered: who served and which client address they saw, or an errno name. */
export interface Reply {
  readonly server?: string;
  readonly client?: string;
  readonly error?: string;
}

/** A node with two Pods, and the world outside. */
export interface Hosts {
  ask(
    from: Place,
    to: string,
    options?: { readonly timeoutMs?: number; readonly fromPort?: number; readonly keep?: string },
  ): Promise<Reply>;
  /** Runs a program on the node. */
  onNode(program: string, ...args: readonly string[]): string;
  /** Starts a program on the node. */
  startOnNode(script: string, ...args: readonly string[]): ChildProcessWithoutNullStreams;
  close(): Promise<void>;
}

/**
 * Lays the network; the node's default route leads to `outside`.
 * @param pods `routed`: each Pod on a veth of its own with a /32; `bridged`: both on one bridge, so that one
 *   answers the other below IP.
 */
export async function makeHosts(pods: "routed" | "bridged" = "routed"): Promise<Hosts> {
  const prefix = `kpx${process.pid}`;
  const netns = (place: Place): string => `${prefix}-${place}`;
  const places = ["node", "pod-a", "pod-b", "outside"] as const;
  const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: "pipe" });
  const inside = (place: Place, ...args: string[]): void => ip("-n", netns(place), ...args);
  for (const place of places) {
    ip("netns", "add", netns(place));
    inside(place, "link", "set", "lo", "up");
  }
  if (pods === "bridged") {
    inside("node", "link", "add", "br0", "type", "bridge");
    inside("node", "addr", "add", "10.244.1.1/24", "dev", "br0");
    inside("node", "link", "set", "br0", "up");
  }
  const links = [
    ["pod-a", address.podA, "va"],
    ["pod-b", address.podB, "vb"],
  ] as const;
  for (const [place, podIp, link] of links) {
    inside("node", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", netns(place));
    inside("node", "link", "set", link, "up");
    inside(place, "addr", "add", `${podIp}/${pods === "bridged" ? 24 : 32}`, "dev", "eth0");
    inside(place, "link", "set", "eth0", "up");
    if (pods === "bridged") {
      inside("node", "link", "set", link, "master", "br0");
      // A Pod's packet to itself, translated on the bridge, goes out where it came in.
      inside("node", "link", "set", link, "type", "bridge_slave", "hairpin", "on");
    } else {
      inside("node", "addr", "add", "10.244.1.1/32", "dev", link);
      inside("node", "route", "add", `${podIp}/32`, "dev", link);
      inside(place, "route", "add", "10.244.1.1", "dev", "eth0");
    }
    inside(place, "route", "add", "default", "via", "10.244.1.1");
  }
  inside("node", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", netns("outside"));
  inside("node", "addr", "add", `${address.node}/24`, "dev", "up0");
  inside("node", "link", "set", "up0", "up");
  inside("outside", "addr", "add", `${address.outside}/24`, "dev", "eth0");
  inside("outside", "link", "set", "eth0", "up");
  inside("outside", "addr", "add", `${address.podC}/32`, "dev", "lo");
  inside("outside", "route", "add", "10.244.1.0/24", "via", address.node);
  inside("outside", "route", "add", "192.168.99.0/24", "via", address.node);
  inside("node", "route", "add", "default", "via", address.outside);
  const onNode = (program: string, ...args: readonly string[]): string =>
    execFileSync("nsenter", [`--net=/run/netns/${netns("node")}`, program, ...args], { encoding: "utf8" });
  onNode("sysctl", "-qw", "net.ipv4.ip_forward=1");
  // As on a machine whose distribution turned it off: the proxy has to turn it on.
  if (pods === "bridged") onNode("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0");

  const start = (place: Place, script: string, ...args: readonly string[]): ChildProcessWithoutNullStreams =>
    spawn("nsenter", [
      `--net=/run/netns/${netns(place)}`,
      process.execPath,
      path.join(import.meta.dirname, script),
      ...args,
    ]);
  const served: Record<Place, readonly string[]> = {
    node: [],
    "pod-a": [address.podA],
    "pod-b": [address.podB],
    outside: [address.podC],
  };
  const peers = new Map(places.map((place) => [place, peer(start(place, "peer.ts", ...served[place]))]));
  await Promise.all([...peers.values()].map(({ ready }) => ready));
  return {
    ask: async (from, to, options = {}) => {
      const [protocol = "", target = ""] = to.split(" ");
      const [targetIp = "", port = ""] = target.split(":");
      const request = { protocol, ip: targetIp, port: Number(port), timeoutMs: 700, ...options };
      return (await peers.get(from)?.ask(request)) ?? { error: "no such place" };
    },
    onNode,
    startOnNode: (script, ...args) => start("node", script, ...args),
    close: async () => {
      await Promise.all([...peers.values()].map((one) => one.close()));
      for (const place of places) ip("netns", "del", netns(place));
    },
  };
}

function peer(child: ChildProcessWithoutNullStreams): {
  readonly ready: Promise<void>;
  ask(request: object): Promise<Reply>;
  close(): Promise<void>;
} {
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const waiting = new Map<number, (reply: Reply) => void>();
  let next = 0;
  child.stderr.on("data", (chunk: Buffer) => console.error(`# peer: ${chunk.toString("utf8")}`));
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line === "ready") return resolve();
    const { id, answer, error } = JSON.parse(line) as { id: number; answer?: string; error?: string };
    const [server = "", client = ""] = answer?.split(" ") ?? [];
    waiting.get(id)?.(error === undefined ? { server, client: client.replace("::ffff:", "") } : { error });
    waiting.delete(id);
  });
  return {
    ready,
    ask: (request) => {
      const id = next++;
      child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
      return new Promise((done) => waiting.set(id, done));
    },
    close: () => stopped(child),
  };
}

/** Ends a child and waits for its end. */
export function stopped(
  child: ChildProcessWithoutNullStreams,
  signal: "SIGTERM" | "SIGKILL" = "SIGKILL",
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  child.kill(signal);
  return promise;
}
