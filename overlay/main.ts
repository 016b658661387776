import { readFile } from "node:fs/promises";
import type { ApiClient } from "#api/client.ts";
import { EtcdClient } from "#api/etcd/etcd-client.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { reconcile } from "#lib/reconcile.ts";
import { together } from "#lib/together.ts";
import { WorkQueue } from "#lib/work-queue.ts";
import type { Iptables } from "#linux/iptables.ts";
import { Monitor } from "#linux/netlink/monitor.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { syncChains } from "./apply/filter-rules.ts";
import { serveHealth } from "./apply/health-server.ts";
import { readSubnetFile, writeSubnetFile } from "./apply/subnet-file.ts";
import { existingMac } from "./apply/vxlan-device.ts";
import type { OverlayConfig } from "./config.ts";
import { type OverlayMetrics, overlayMetrics } from "./metrics.ts";
import { type LeaseAttributes, type NetworkConfig, OverlayError, type SubnetLease } from "./model.ts";
import { EtcdSubnetManager } from "./observe/etcd-subnet-manager.ts";
import { findExternalInterface } from "./observe/external-interface.ts";
import { kernelGroups, watchKernel } from "./observe/kernel-events.ts";
import { KubeSubnetManager } from "./observe/kube-subnet-manager.ts";
import type { SubnetManager } from "./observe/subnet-manager.ts";
import { forwardPlan, masqueradePlan } from "./plan/filter-rules.ts";
import { previousSubnet } from "./plan/subnet-env.ts";
import { deviceName, linkMtu, type SyncState, syncTunnel } from "./sync-tunnel.ts";

/** What the overlay needs from its process. */
export interface OverlayPorts {
  readonly log: Log;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly iptables: Iptables;
  /** Only with `kubeSubnetMgr`. */
  readonly client?: ApiClient;
}

/** A slow full pass repairs what no event told of. */
const fullSyncMs = 10_000;
/** Kernel events come in bursts; one pass answers them all. */
const settleMs = 50;

/**
 * Joins this node's Pods with those of the other nodes, until the signal. What it made stays in the kernel, so
 * a restart interrupts nobody.
 * @throws {OverlayError} for what trying again cannot mend: a wrong configuration, no subnet left.
 */
export async function runOverlay(
  config: OverlayConfig,
  ports: OverlayPorts,
  signal: AbortSignal,
): Promise<void> {
  const { log } = ports;
  const metrics = overlayMetrics();
  using socket = new NetlinkSocket();
  let isReady = false;
  const health = { isReady: () => isReady, metrics: () => metrics.registry.metrics() };
  const { manager, close } = await makeManager(config, ports);
  try {
    await together(
      signal,
      (signal) => serveHealth(config.healthzIp, config.healthzPort, health, signal),
      async (signal) => {
        const state = await start(config, ports, manager, socket, signal);
        await syncTunnel(socket, config, state); // the device stands before anybody is told of the subnet
        await writeFile(config, state);
        isReady = true;
        log.info("subnet acquired", {
          subnet: state.own.subnet,
          publicIp: state.own.attributes.publicIp,
          mtuBytes: state.mtuBytes,
        });
        await keep({ config, ports, manager, socket, metrics, state }, signal);
      },
    );
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    close();
  }
}

/** What every part of the running program works with. */
interface Running {
  readonly config: OverlayConfig;
  readonly ports: OverlayPorts;
  readonly manager: SubnetManager;
  readonly socket: NetlinkSocket;
  readonly metrics: OverlayMetrics;
  readonly state: SyncState;
}

/** Keeps the lease, the tunnel and the rules as they should be. */
async function keep(running: Running, signal: AbortSignal): Promise<void> {
  const { manager, state } = running;
  const { log, clock } = running.ports;
  const dirty = new WorkQueue<"tunnel">({ limit: 1, backoff: { firstMs: 100, maxMs: fullSyncMs }, clock });
  const failed = (_key: string, cause: unknown): void => {
    running.metrics.syncFailures.inc();
    log.warn("cannot write the tunnel", { cause: errorText(cause) });
  };
  const told = {
    leases: (all: readonly SubnetLease[]): void => {
      state.leases = { state: "complete", all: new Map(all.map((lease) => [lease.subnet, lease])) };
      dirty.add("tunnel");
    },
    moved: (own: SubnetLease): void => {
      log.warn("another subnet now: Pods must be made anew", { before: state.own.subnet, now: own.subnet });
      state.own = own;
      dirty.add("tunnel");
    },
  };
  const isOurs = (link: { readonly index: number; readonly name?: string }): boolean =>
    link.index === state.tunnelLink ||
    link.index === state.external.index ||
    link.name === deviceName(state.network);
  using monitor = new Monitor(kernelGroups);
  dirty.add("tunnel");
  await together(
    signal,
    (signal) => manager.run(told, signal),
    (signal) => reconcile(dirty, () => step(running), failed, signal),
    (signal) => watchKernel(monitor, isOurs, () => dirty.addAfter("tunnel", settleMs), signal),
    (signal) => every(fullSyncMs, clock, signal, async () => dirty.add("tunnel")),
    (signal) => keepRules(running, signal),
  );
}

async function step({ config, ports, socket, metrics, state }: Running): Promise<void> {
  const stop = metrics.syncSeconds.startTimer();
  const result = await syncTunnel(socket, config, state);
  stop();
  await writeFile(config, state); // writes only what differs
  metrics.peers.set(result.peers);
  metrics.skippedPeers.set(result.notes.length);
  metrics.kernelChanges.inc(result.changes);
  if (result.changes > 0)
    ports.log.info("wrote the tunnel", { changes: result.changes, peers: result.peers });
  const notes = result.notes.join("; ");
  if (notes !== state.lastNotes && notes !== "") ports.log.warn("peers left out", { notes });
  state.lastNotes = notes;
}

/** Everything up to the lease. */
async function start(
  config: OverlayConfig,
  ports: OverlayPorts,
  manager: SubnetManager,
  socket: NetlinkSocket,
  signal: AbortSignal,
): Promise<SyncState> {
  const network = await manager.networkConfig(signal);
  const external = findExternalInterface(socket, config);
  const mac = existingMac(socket, deviceName(network)) ?? randomMac(ports.random);
  const attributes: LeaseAttributes = {
    publicIp: config.publicIp === "" ? external.address : config.publicIp,
    backendType: network.backend.type,
    vtep: network.backend.type === "vxlan" ? { vni: network.backend.vni, mac } : undefined,
  };
  const previous = previousSubnet(await readSubnetFile(config.subnetFile), network.network);
  const own = await acquire(manager, network, attributes, previous, ports, signal);
  return {
    network,
    external,
    own,
    mtuBytes: linkMtu(network, external),
    leases: { state: "listing" },
    tunnelLink: undefined,
    lastNotes: "",
  };
}

/** etcd being away is waited out; a network without room is not. */
async function acquire(
  manager: SubnetManager,
  network: NetworkConfig,
  attributes: LeaseAttributes,
  previous: string | undefined,
  { clock, log }: OverlayPorts,
  signal: AbortSignal,
): Promise<SubnetLease> {
  for (;;) {
    try {
      return await manager.acquire(network, attributes, previous, signal);
    } catch (cause) {
      if (signal.aborted || cause instanceof OverlayError) throw cause;
      log.warn("cannot get a subnet yet", { cause: errorText(cause) });
      await clock.sleep(1_000, signal);
    }
  }
}

async function keepRules(
  { config, ports: { iptables, clock, log }, metrics, state }: Running,
  signal: AbortSignal,
): Promise<void> {
  const sync = async (): Promise<void> => {
    const plans = [
      ...(config.ipMasq
        ? [masqueradePlan(state.network.network, state.own.subnet, !config.ipMasqFullyRandomDisable)]
        : []),
      ...(config.iptablesForwardRules ? [forwardPlan(state.network.network)] : []),
    ];
    try {
      metrics.ruleWrites.inc(await syncChains(iptables, plans, signal));
    } catch (cause) {
      if (!signal.aborted) log.warn("cannot write iptables rules", { cause: errorText(cause) });
    }
  };
  await sync();
  await every(Math.max(1, config.iptablesResyncSeconds) * 1_000, clock, signal, sync);
}

async function every(
  ms: number,
  clock: Clock,
  signal: AbortSignal,
  step: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(ms, signal).catch(() => undefined);
    if (!signal.aborted) await step();
  }
}

function writeFile(config: OverlayConfig, state: SyncState): Promise<void> {
  return writeSubnetFile(config.subnetFile, {
    network: state.network.network,
    subnet: state.own.subnet,
    mtuBytes: state.mtuBytes,
    ipMasq: config.ipMasq,
  });
}

async function makeManager(
  config: OverlayConfig,
  { client, clock, log, random }: OverlayPorts,
): Promise<{ readonly manager: SubnetManager; readonly close: () => void }> {
  if (config.kubeSubnetMgr) {
    if (client === undefined) {
      throw new OverlayError("bad-config", "cannot use the Kubernetes API: no kubeconfig is given");
    }
    const options = {
      nodeName: config.nodeName,
      annotationPrefix: config.kubeAnnotationPrefix,
      netConfigPath: config.netConfigPath,
      setNetworkUnavailable: config.setNodeNetworkUnavailable,
    };
    return { manager: new KubeSubnetManager(options, { client, clock, log, random }), close: () => {} };
  }
  const read = async (file: string): Promise<string | undefined> =>
    file === "" ? undefined : await readFile(file, "utf8");
  const [ca, cert, key] = await Promise.all(
    [config.etcdCafile, config.etcdCertfile, config.etcdKeyfile].map(read),
  );
  const etcd = new EtcdClient({
    endpoints: config.etcdEndpoints,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    ...(config.etcdUsername === ""
      ? {}
      : { auth: { username: config.etcdUsername, password: config.etcdPassword } }),
  });
  const manager = new EtcdSubnetManager(config.etcdPrefix, config.subnetLeaseRenewMarginMinutes, {
    client: etcd,
    clock,
    log,
    random,
  });
  return { manager, close: () => etcd.close() };
}

/** Locally administered, for one station. */
function randomMac(random: () => number): string {
  const bytes = Array.from({ length: 6 }, () => Math.floor(random() * 256));
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
