import fs from "node:fs";
import { formatNetwork, parseCidr } from "#lib/ip.ts";
import type { Iptables } from "#linux/iptables.ts";
import { findLink } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { writeSysctl } from "#linux/sysctl.ts";
import { attach, type Attachment, detach, findFault } from "./apply/attach.ts";
import { bringLoopbackUp } from "./apply/loopback.ts";
import { LeaseStore } from "./apply/lease-store.ts";
import {
  type Allocation,
  type AttachmentKey,
  CniError,
  cniErrorCode,
  type PluginConf,
  type Route,
} from "./model.ts";
import { renderForward } from "./plan/forward-rules.ts";
import { hostVethName } from "./plan/names.ts";
import { renderMasquerade, renderPortMap, renderPortUnmap } from "./plan/nat-rules.ts";
import { loopbackVersion, parseConf, versionOf } from "./plan/parse-conf.ts";
import { renderError, renderResult, renderVersions } from "./plan/render-result.ts";
import { parseSubnetFile, type SubnetFile } from "./plan/subnet-file.ts";

/** What the plugin needs from its process. */
export interface CniPorts {
  /** Loaded only when a rule is to be written: most Pods need none. */
  readonly iptables: (family: 4 | 6) => Promise<Iptables>;
  /** Changes with every boot of the machine. */
  readonly bootId: () => string;
}

/** The machine's own. */
export const systemPorts: CniPorts = {
  iptables: async (family) => (await import("#linux/iptables.ts")).systemIptables({ family }),
  bootId: () => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
};

type Environment = Readonly<Record<string, string | undefined>>;

/** A plugin answers within this time, or its runtime gives up anyway. */
const timeoutMs = 60_000;

/**
 * One call of the plugin: a bridge with a veth pair for each container, addresses from the node's subnet, and
 * port mappings.
 * @param env `CNI_COMMAND` and the other variables of the specification.
 * @param stdin the network configuration.
 * @returns what to print, also when it failed; never throws.
 */
export async function runCni(
  env: Environment,
  stdin: string,
  ports: CniPorts,
): Promise<{ readonly stdout: string; readonly exitCode: number }> {
  try {
    return { stdout: await run(env, stdin, ports, AbortSignal.timeout(timeoutMs)), exitCode: 0 };
  } catch (cause) {
    return { stdout: renderError(asCniError(cause), versionOf(stdin)), exitCode: 1 };
  }
}

async function run(env: Environment, stdin: string, ports: CniPorts, signal: AbortSignal): Promise<string> {
  const command = env["CNI_COMMAND"];
  if (command === "VERSION") return renderVersions();
  const loopback = loopbackVersion(stdin);
  if (loopback !== undefined) {
    return command === "ADD" ? renderResult(bringLoopbackUp(readNetns(env)), loopback) : "";
  }
  switch (command) {
    case "ADD":
      return await add(readKey(env), readNetns(env), parseConf(stdin), ports, signal);
    case "DEL":
      await remove(readKey(env), parseConf(stdin), ports, signal);
      return "";
    case "CHECK":
      check(readKey(env), readNetns(env), parseConf(stdin), ports);
      return "";
    case "STATUS":
      readSubnets(parseConf(stdin), cniErrorCode.notAvailable);
      return "";
    case "GC":
      await collectGarbage(parseConf(stdin), ports, signal);
      return "";
    default:
      throw new CniError(
        cniErrorCode.invalidEnvironment,
        `cannot do CNI_COMMAND "${command ?? ""}": want ADD, DEL, CHECK, GC, STATUS or VERSION`,
      );
  }
}

async function add(
  key: AttachmentKey,
  netns: string,
  conf: PluginConf,
  ports: CniPorts,
  signal: AbortSignal,
): Promise<string> {
  using host = new NetlinkSocket();
  const hostVeth = hostVethName(key);
  if (findLink(host, hostVeth) !== undefined) {
    // Refused before anything is touched: cleaning up after this error would cut off a Pod that runs.
    throw new CniError(
      cniErrorCode.failed,
      `cannot add "${key.containerId}": "${key.ifName}" is attached already; DEL it first`,
    );
  }
  using leases = new LeaseStore(conf.ipam.dataDir, conf.name, ports.bootId());
  const subnets = readSubnets(conf, cniErrorCode.tryAgainLater);
  const addresses = leases.allocate(key, subnets.rangeSets);
  const attachment: Attachment = {
    conf,
    netns,
    ifName: key.ifName,
    hostVeth,
    mtuBytes: conf.mtuBytes ?? subnets.mtuBytes,
    addresses,
    routes: routesOf(conf, addresses),
  };
  try {
    const result = attach(host, attachment);
    await writeRules(key, conf, addresses, subnets, leases, ports, signal);
    return renderResult(result, conf.cniVersion);
  } catch (cause) {
    await detach(host, hostVeth).catch(() => undefined);
    await unmapPorts(key, conf, leases, ports, signal).catch(() => undefined);
    leases.release(key);
    throw cause;
  }
}

async function remove(
  key: AttachmentKey,
  conf: PluginConf,
  ports: CniPorts,
  signal: AbortSignal,
): Promise<void> {
  using host = new NetlinkSocket();
  await detach(host, hostVethName(key)); // before the lock: the kernel takes its time with it
  using leases = new LeaseStore(conf.ipam.dataDir, conf.name, ports.bootId());
  await unmapPorts(key, conf, leases, ports, signal);
  leases.release(key);
}

function check(key: AttachmentKey, netns: string, conf: PluginConf, ports: CniPorts): void {
  if (conf.cniVersion < "0.4.0") {
    throw new CniError(cniErrorCode.incompatibleVersion, "cannot check: CHECK came with version 0.4.0");
  }
  const given = conf.prevResult;
  if (given === undefined)
    throw new CniError(cniErrorCode.invalidConfig, "cannot check: prevResult is missing");
  using host = new NetlinkSocket();
  using leases = new LeaseStore(conf.ipam.dataDir, conf.name, ports.bootId());
  const ours = given.ips.filter(
    (ip) => ip.interface === undefined || given.interfaces[ip.interface]?.name === key.ifName,
  );
  const held = leases.find(key);
  const unheld = ours.find((ip) => !held.includes(ip.address.slice(0, ip.address.indexOf("/"))));
  const addresses = ours.map((ip) => ({ address: ip.address, gateway: ip.gateway ?? "" }));
  const fault =
    unheld === undefined
      ? findFault(host, {
          conf,
          netns,
          ifName: key.ifName,
          hostVeth: hostVethName(key),
          mtuBytes: undefined,
          addresses,
          routes: routesOf(conf, addresses),
        })
      : `address "${unheld.address}" is not reserved`;
  if (fault !== undefined)
    throw new CniError(cniErrorCode.notAsAdded, `container "${key.containerId}": ${fault}`);
}

async function collectGarbage(conf: PluginConf, ports: CniPorts, signal: AbortSignal): Promise<void> {
  using host = new NetlinkSocket();
  using leases = new LeaseStore(conf.ipam.dataDir, conf.name, ports.bootId());
  const isValid = (key: AttachmentKey): boolean =>
    conf.validAttachments.some(
      (valid) => valid.containerId === key.containerId && valid.ifName === key.ifName,
    );
  const failures: unknown[] = [];
  for (const key of leases.attachments().filter((key) => !isValid(key))) {
    try {
      await unmapPorts(key, conf, leases, ports, signal);
      await detach(host, hostVethName(key));
      leases.release(key);
    } catch (cause) {
      failures.push(cause); // the others are still collected
    }
  }
  if (failures.length > 0) throw asCniError(failures[0]);
}

async function writeRules(
  key: AttachmentKey,
  conf: PluginConf,
  addresses: readonly Allocation[],
  subnets: SubnetFile,
  leases: LeaseStore,
  ports: CniPorts,
  signal: AbortSignal,
): Promise<void> {
  if (conf.portMappings.length === 0 && !conf.ipMasq && !conf.forward) return;
  if (conf.portMappings.length > 0) {
    leases.markPortMap(key.containerId);
    // A connection from the node itself to 127.0.0.1:hostPort leaves through the bridge.
    writeSysctl(`net/ipv4/conf/${conf.bridge}/route_localnet`, "1");
  }
  for (const { address } of addresses) {
    const iptables = await ports.iptables(address.includes(":") ? 6 : 4);
    const podSubnet = formatNetwork(parseCidr(address));
    if (conf.forward) await letThrough(iptables, conf.name, podSubnet, signal);
    if (conf.portMappings.length === 0 && !conf.ipMasq) continue;
    const now = await iptables.save("nat", signal);
    if (conf.portMappings.length > 0) {
      const podIp = address.slice(0, address.indexOf("/"));
      const plan = {
        network: conf.name,
        containerId: key.containerId,
        podIp,
        podSubnet,
        mappings: conf.portMappings,
      };
      await iptables.restore(renderPortMap(plan, now), signal);
    }
    if (!conf.ipMasq) continue;
    const keep = [...conf.nonMasqueradeCidrs, ...subnets.networks];
    const script = renderMasquerade(conf.name, podSubnet, keep, now);
    if (script !== undefined) await iptables.restore(script, signal);
  }
}

/** Without the programs there is no iptables policy that could drop anything. */
async function letThrough(
  iptables: Iptables,
  network: string,
  podSubnet: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const script = renderForward(network, podSubnet, await iptables.save("filter", signal));
    if (script !== undefined) await iptables.restore(script, signal);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "missing")) throw cause;
  }
}

async function unmapPorts(
  key: AttachmentKey,
  conf: PluginConf,
  leases: LeaseStore,
  ports: CniPorts,
  signal: AbortSignal,
): Promise<void> {
  if (conf.portMappings.length === 0 && !leases.hasPortMap(key.containerId)) return;
  const families = new Set(leases.find(key).map((address) => (address.includes(":") ? 6 : 4)));
  for (const family of families.size === 0 ? [4 as const] : families) {
    const iptables = await ports.iptables(family);
    const script = renderPortUnmap(conf.name, key.containerId, await iptables.save("nat", signal));
    if (script !== undefined) await iptables.restore(script, signal);
  }
}

/** The ranges to give addresses from; `code` is the error when the subnet file is not there yet. */
function readSubnets(conf: PluginConf, code: number): SubnetFile {
  const { rangeSets, subnetFile } = conf.ipam;
  if (subnetFile === undefined) return { rangeSets, mtuBytes: undefined, networks: [] };
  let text = "";
  try {
    text = fs.readFileSync(subnetFile, "utf8");
  } catch (cause) {
    throw new CniError(
      code,
      `cannot read this node's subnet from "${subnetFile}": ${cause instanceof Error ? cause.message : String(cause)}; the node's agent or overlay writes it`,
    );
  }
  const found = parseSubnetFile(text);
  if (found.rangeSets.length === 0) {
    throw new CniError(code, `cannot read this node's subnet from "${subnetFile}": it holds no CIDR`);
  }
  return { ...found, rangeSets: [...found.rangeSets, ...rangeSets] };
}

/** What the configuration says, and a default route for each family that has none. */
function routesOf(conf: PluginConf, addresses: readonly Allocation[]): Route[] {
  const routes: Route[] = [...conf.ipam.routes];
  for (const { address, gateway } of addresses) {
    const dst = address.includes(":") ? "::/0" : "0.0.0.0/0";
    if (!routes.some((route) => route.dst === dst)) routes.push({ dst, gw: gateway });
  }
  return routes;
}

function readKey(env: Environment): AttachmentKey {
  const containerId = env["CNI_CONTAINERID"] ?? "";
  const ifName = env["CNI_IFNAME"] ?? "";
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(containerId)) throw badVariable("CNI_CONTAINERID", containerId);
  if (!/^[^/:\s]{1,15}$/.test(ifName) || ifName === "." || ifName === "..")
    throw badVariable("CNI_IFNAME", ifName);
  return { containerId, ifName };
}

function readNetns(env: Environment): string {
  const netns = env["CNI_NETNS"] ?? "";
  if (netns === "") throw badVariable("CNI_NETNS", netns);
  return netns;
}

function badVariable(name: string, value: string): CniError {
  return new CniError(
    cniErrorCode.invalidEnvironment,
    `cannot use ${name}="${value}": it is missing or malformed`,
  );
}

function asCniError(cause: unknown): CniError {
  if (cause instanceof CniError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new CniError(cniErrorCode.failed, message, cause instanceof Error ? (cause.stack ?? "") : "", {
    cause,
  });
}
