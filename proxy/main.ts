import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { availableParallelism } from "node:os";
import type { ApiClient } from "#api/client.ts";
import { endpointSlices, nodes, services } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { type Task, together } from "#lib/together.ts";
import { type Conntrack, systemConntrack } from "#linux/conntrack.ts";
import { hasBothBackends, type Iptables, iptablesVersion, systemIptables } from "#linux/iptables.ts";
import { cleanFlows, localIps } from "./apply/clean-flows.ts";
import { serveHttp } from "./apply/http-server.ts";
import { iptablesMode } from "./apply/iptables/iptables-mode.ts";
import { removeAllRules } from "./apply/iptables/rule-writer.ts";
import type { ProxyMode } from "./apply/mode.ts";
import { ServiceHealth } from "./apply/service-health.ts";
import { userspaceMode } from "./apply/userspace/userspace-mode.ts";
import { writeSysctls } from "./apply/write-sysctls.ts";
import type { ProxyConfig } from "./config.ts";
import { applyConfigFile } from "./config-file.ts";
import { isNodeEligible, ProxyHealth } from "./health.ts";
import { type ProxyMetrics, proxyMetrics } from "./metrics.ts";
import type { Family, LocalDetector, NodeFacts, ServicePort } from "./model.ts";
import { nodeFacts, type ProxyCaches, ServiceWatch } from "./observe/service-watch.ts";
import { isInCidr } from "./plan/cidr.ts";
import { chooseEndpoints } from "./plan/endpoints.ts";
import { planSysctls } from "./plan/sysctls.ts";
import { type SyncDone, syncServices } from "./sync-services.ts";

/** What the proxy needs from the process it runs in. */
export interface ProxyPorts {
  readonly log: Log;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly client: ApiClient;
  /** Caches that somebody else runs and shares; else the proxy runs its own. */
  readonly caches?: ProxyCaches;
  /** The machine's own unless given. */
  readonly iptables?: (family: Family) => Iptables;
  readonly conntrack?: Conntrack;
}

/**
 * Keeps the node's rules in step with the cluster's Services until the signal is aborted. Rules stay when it
 * ends: established and new connections go on while it is away.
 * @throws when the configuration cannot be used or iptables is not there.
 */
export async function runProxy(given: ProxyConfig, ports: ProxyPorts, signal: AbortSignal): Promise<void> {
  const config = await loadConfig(given);
  const { log, clock } = ports;
  const openIptables = ports.iptables ?? ((family: Family) => systemIptables({ family }));
  if (config.cleanup) {
    await cleanUp(openIptables, log, signal);
    return;
  }
  log.info("proxy starts", {
    node: config.nodeName,
    mode: config.mode,
    iptables: await iptablesVersion(4, signal),
  });
  if (await hasBothBackends(4, signal)) {
    log.warn("both iptables-nft and iptables-legacy have rules; packets meet both, each tool lists one");
  }
  const routeLocalnet = config.mode === "iptables" && config.localhostNodePorts && mayUseLoopback(config);
  await writeSysctls(planSysctls({ ...config, routeLocalnet }, availableParallelism()), log);

  const families = familiesOf(config);
  const metrics = proxyMetrics();
  const health = new ProxyHealth(2 * config.syncPeriodMs, families.map(familyName));
  const own = ports.caches === undefined ? ownCaches(config.nodeName, ports) : undefined;
  const caches = ports.caches ?? own?.caches;
  if (caches === undefined) return;
  const serviceHealth = new ServiceHealth(log, () => health.report(clock.now()).healthy);
  const closers: (() => void)[] = [() => serviceHealth.close()];
  try {
    closers.push(...(await serveAll(config, health, metrics, caches, ports)));
    const proxiers: Task[] = families.map((family) => async (stop) => {
      await caches.nodes.synced(stop);
      const node = bindNode(nodeFacts(caches.nodes.get(config.nodeName), config.nodeName), config);
      const mode = makeMode(config, family, node, openIptables(family), ports);
      closers.push(() => mode.close());
      await proxyFamily(family, mode, config, { ...ports, caches, metrics, health, serviceHealth }, stop);
    });
    await together(signal, ...(own?.run ?? []), ...proxiers);
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    for (const close of closers) close();
  }
}

/** Ports, and what one family's proxier tells about its work. */
interface FamilyPorts extends ProxyPorts {
  readonly caches: ProxyCaches;
  readonly metrics: ProxyMetrics;
  readonly health: ProxyHealth;
  readonly serviceHealth: ServiceHealth;
}

async function proxyFamily(
  family: Family,
  mode: ProxyMode,
  config: ProxyConfig,
  ports: FamilyPorts,
  signal: AbortSignal,
): Promise<void> {
  const { log, clock, metrics, health } = ports;
  const label = { ip_family: familyName(family) };
  const conntrack = ports.conntrack ?? systemConntrack();
  const watch = new ServiceWatch(ports.caches, family, config.nodeName);
  const done = async (result: SyncDone): Promise<void> => {
    const now = clock.now();
    health.updated(label.ip_family, now);
    metrics.lastSync.set(label, now / 1_000);
    if (result.report.kind !== "nothing") {
      const seconds = result.tookMs / 1_000;
      metrics.syncSeconds.observe(label, seconds);
      (result.report.kind === "full" ? metrics.fullSyncSeconds : metrics.partialSyncSeconds).observe(
        label,
        seconds,
      );
      metrics.linesWritten.set(label, result.report.lines);
    }
    for (const trigger of result.triggers) {
      metrics.programmingSeconds.observe(label, Math.max(0, now - trigger) / 1_000);
    }
    // All ports are gone through only when one that counts changed.
    if (touches(result, (port) => port.internalLocal || port.externalLocal)) {
      countNoLocal(result, watch.node, family, metrics);
    }
    if (family === 4 && touches(result, (port) => port.healthCheckNodePort !== 0)) {
      await ports.serviceHealth.update(result.all.values());
    }
    const answers = (port: ServicePort): readonly string[] => mode.answers(port, watch.node);
    try {
      const deleted = await cleanFlows(conntrack, result.changes, answers, family, signal);
      if (deleted > 0) log.info("forgot stale UDP flows", { deleted });
      metrics.deletedFlows.inc(label, deleted);
    } catch (cause) {
      if (!signal.aborted) log.warn("cannot clean up UDP flows", { cause: errorText(cause) });
    }
  };
  try {
    await syncServices(
      {
        watch,
        mode,
        clock,
        log,
        queued: () => {
          health.queued(label.ip_family, clock.now());
          metrics.lastQueued.set(label, clock.now() / 1_000);
        },
        done,
        failed: () => metrics.restoreFailures.inc(label),
      },
      config,
      signal,
    );
  } finally {
    watch.close();
  }
}

function makeMode(
  config: ProxyConfig,
  family: Family,
  node: NodeFacts,
  iptables: Iptables,
  ports: ProxyPorts,
): ProxyMode {
  const { log } = ports;
  const serviceCidrs = config.serviceCidrs.filter(
    (cidr) => isIPv6(cidr.split("/")[0] ?? "") === (family === 6),
  );
  if (config.mode === "userspace") {
    const settings = { family, serviceCidrs, maxConnections: config.userspaceMaxConnections };
    return userspaceMode(settings, { ...ports, iptables });
  }
  const localDetector = detectorOf(config, family, node);
  if (localDetector.by === "nothing") {
    log.warn("packets of this node's Pods cannot be told from others; set --cluster-cidr", { family });
  }
  return iptablesMode(iptables, {
    family,
    masqueradeBit: config.masqueradeBit,
    masqueradeAll: config.masqueradeAll,
    randomFully: true,
    tcpBeLiberal: config.conntrackTcpBeLiberal,
    localhostNodePorts: config.localhostNodePorts && mayUseLoopback(config),
    nodePortIps: nodePortIps(config, family, node),
    serviceCidrs,
    localDetector,
  });
}

function detectorOf(config: ProxyConfig, family: Family, node: NodeFacts): LocalDetector {
  const ofFamily = (cidr: string): boolean => isIPv6(cidr.split("/")[0] ?? "") === (family === 6);
  switch (config.detectLocalMode) {
    case "ClusterCIDR":
      return byCidr(config.clusterCidrs.find(ofFamily));
    case "NodeCIDR":
      return byCidr(node.podCidrs.find(ofFamily));
    case "BridgeInterface":
      return config.bridgeInterface === ""
        ? { by: "nothing" }
        : { by: "bridge", name: config.bridgeInterface };
    case "InterfaceNamePrefix":
      return config.interfaceNamePrefix === ""
        ? { by: "nothing" }
        : { by: "interface-prefix", prefix: config.interfaceNamePrefix };
    default:
      return config.detectLocalMode satisfies never;
  }
}

function byCidr(cidr: string | undefined): LocalDetector {
  return cidr === undefined ? { by: "nothing" } : { by: "cidr", cidr };
}

/** Empty: NodePorts answer on every address. */
function nodePortIps(config: ProxyConfig, family: Family, node: NodeFacts): readonly string[] {
  if (config.nodePortAddresses.includes("primary")) {
    return node.ips.filter((ip) => isIPv6(ip) === (family === 6)).slice(0, 1);
  }
  const all = config.nodePortAddresses.some((cidr) => cidr === "0.0.0.0/0" || cidr === "::/0");
  if (config.nodePortAddresses.length === 0 || all) return [];
  return localIps(family).filter((ip) => config.nodePortAddresses.some((cidr) => isInCidr(ip, cidr)));
}

function mayUseLoopback(config: ProxyConfig): boolean {
  return (
    config.nodePortAddresses.length === 0 ||
    config.nodePortAddresses.some((cidr) => isInCidr("127.0.0.1", cidr))
  );
}

/** --bind-address goes before what the API says of the node. */
function bindNode(node: NodeFacts, config: ProxyConfig): NodeFacts {
  const given = config.bindAddress === "0.0.0.0" || config.bindAddress === "::" ? [] : [config.bindAddress];
  return { ...node, ips: [...given, ...node.ips] };
}

/** IPv6 too where the cluster has a range of it and the kernel speaks it. */
function familiesOf(config: ProxyConfig): readonly Family[] {
  const ranges = [...config.clusterCidrs, ...config.serviceCidrs];
  const wanted = ranges.some((cidr) => cidr.includes(":")) && existsSync("/proc/net/if_inet6");
  return wanted ? [4, 6] : [4];
}

function familyName(family: Family): string {
  return `IPv${family}`;
}

function touches(result: SyncDone, counts: (port: ServicePort) => boolean): boolean {
  return result.changes.some(({ before, after }) =>
    [before, after].some((port) => port !== undefined && counts(port)),
  );
}

function countNoLocal(result: SyncDone, node: NodeFacts, family: Family, metrics: ProxyMetrics): void {
  let internal = 0;
  let external = 0;
  for (const port of result.all.values()) {
    if (!port.internalLocal && !port.externalLocal) continue;
    const chosen = chooseEndpoints(port, node);
    if (!chosen.any || chosen.local.length > 0) continue;
    if (port.internalLocal) internal += 1;
    if (port.externalLocal) external += 1;
  }
  metrics.noLocalEndpoints.set({ ip_family: familyName(family), traffic_policy: "internal" }, internal);
  metrics.noLocalEndpoints.set({ ip_family: familyName(family), traffic_policy: "external" }, external);
}

function ownCaches(
  nodeName: string,
  ports: ProxyPorts,
): { readonly caches: ProxyCaches; readonly run: Task[] } {
  const caches = {
    services: new WatchCache(services, { labelSelector: "!service.kubernetes.io/service-proxy-name" }, ports),
    slices: new WatchCache(endpointSlices, { labelSelector: "!service.kubernetes.io/headless" }, ports),
    nodes: new WatchCache(nodes, { fieldSelector: `metadata.name=${nodeName}` }, ports),
  };
  return { caches, run: Object.values(caches).map((cache) => (signal) => cache.run(signal)) };
}

/** The health and metrics servers; a taken port is fatal only when the configuration says so. */
async function serveAll(
  config: ProxyConfig,
  health: ProxyHealth,
  metrics: ProxyMetrics,
  caches: ProxyCaches,
  ports: ProxyPorts,
): Promise<(() => void)[]> {
  const json = (report: { healthy: boolean; body: unknown }) => ({
    code: report.healthy ? 200 : 503,
    body: JSON.stringify(report.body),
    contentType: "application/json",
  });
  const closers: (() => void)[] = [];
  const serve = async (...args: Parameters<typeof serveHttp>): Promise<void> => {
    if (args[0] === "") return;
    try {
      closers.push(await serveHttp(...args));
    } catch (cause) {
      if (config.bindAddressHardFail) throw cause;
      ports.log.error("cannot serve; going on without", { address: args[0], cause: errorText(cause) });
    }
  };
  await serve(config.healthzBindAddress, (path) => {
    if (path === "/healthz") {
      const known = caches.nodes.view.state === "complete";
      const answer = json(
        health.report(ports.clock.now(), isNodeEligible(caches.nodes.get(config.nodeName), known)),
      );
      metrics.healthz.inc({ code: String(answer.code) });
      return answer;
    }
    if (path !== "/livez") return undefined;
    const answer = json(health.report(ports.clock.now()));
    metrics.livez.inc({ code: String(answer.code) });
    return answer;
  });
  await serve(config.metricsBindAddress, async (path) => {
    if (path === "/metrics") {
      return { code: 200, body: await metrics.registry.metrics(), contentType: metrics.registry.contentType };
    }
    if (path === "/proxyMode") return { code: 200, body: config.mode };
    if (path === "/healthz") return { code: 200, body: "ok" };
    if (path === "/configz") {
      return { code: 200, body: JSON.stringify({ proxy: config }), contentType: "application/json" };
    }
    return undefined;
  });
  return closers;
}

async function cleanUp(open: (family: Family) => Iptables, log: Log, signal: AbortSignal): Promise<void> {
  for (const family of [4, 6] as const) {
    try {
      await removeAllRules(open(family), signal);
      log.info("removed the proxy's rules", { family });
    } catch (cause) {
      if (family === 4) throw cause;
      log.debug("no IPv6 rules removed", { cause: errorText(cause) });
    }
  }
}

async function loadConfig(config: ProxyConfig): Promise<ProxyConfig> {
  if (config.configFile === "") return config;
  const source = await readFile(config.configFile, "utf8");
  return applyConfigFile(config, source, config.configFile);
}

/** The parts of {@link ProxyPorts} that every real process has. */
export const systemPorts: Pick<ProxyPorts, "clock" | "random"> = { clock: systemClock, random: Math.random };
