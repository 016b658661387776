import { mkdir } from "node:fs/promises";
import { readFile } from "node:fs/promises";
import os from "node:os";
import type { ApiClient } from "#api/client.ts";
import { ApiEventRecorder, type EventRecorder } from "#api/event-recorder.ts";
import type { Node, Pod, Service } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { pods as podResource, services as serviceResource } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { reconcile } from "#lib/reconcile.ts";
import { together } from "#lib/together.ts";
import { WorkQueue } from "#lib/work-queue.ts";
import { findCgroups } from "#linux/cgroup.ts";
import { type AgentContext, podEvent } from "./agent-context.ts";
import { agentView } from "./agent-view.ts";
import { deleteMirror, ensureMirror } from "./apply/mirror-pods.ts";
import { keepNode } from "./apply/node-object.ts";
import { reportStatus } from "./apply/report-status.ts";
import type { AgentConfig } from "./config.ts";
import { collectImages } from "./images/collect-images.ts";
import { ImagePuller } from "./images/image-puller.ts";
import { agentMetrics, type AgentMetrics } from "./metrics.ts";
import type { AgentView } from "./model.ts";
import { localAddresses, lowestOomScoreAdj, readNodeFacts, readNodeUse } from "./observe/node-facts.ts";
import { followRuntime } from "./observe/runtime-events.ts";
import { followStaticPods } from "./observe/static-pods.ts";
import type { NodeRoom } from "./plan/admission.ts";
import { containersOf, fieldPathOf } from "./plan/containers-of.ts";
import { type NodeReport, standardLabels } from "./plan/node-status.ts";
import { parseResolvConf } from "./plan/resolv-conf.ts";
import { PodTable } from "./pod-table.ts";
import { Prober } from "./probes/prober.ts";
import { ensureQosCgroups } from "./resources/pod-cgroups.ts";
import type { Runtime, RuntimeStatus } from "./runtime/runtime.ts";
import { syncPod } from "./sync-pod.ts";
import { ObjectRefs } from "./volumes/object-refs.ts";
import { podDirectories, removePodDirectory } from "./volumes/pod-volumes.ts";
import { ServiceAccountTokens } from "./volumes/service-account-tokens.ts";

/** What the server on 10250 is given. */
export interface ServerPorts {
  readonly view: AgentView;
  readonly runtime: Runtime;
  readonly client: ApiClient | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: AgentMetrics;
}

/** What the agent stands on. */
export interface AgentPorts {
  readonly log: Log;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** undefined for a node without an API: it runs static Pods only. */
  readonly client: ApiClient | undefined;
  readonly runtime: Runtime;
  /** Serves port 10250 until the signal; none in tests. */
  readonly startServer?: (config: AgentConfig, ports: ServerPorts, signal: AbortSignal) => Promise<void>;
  /** Told when the first look at everything has ended. */
  readonly ready?: (view: AgentView) => void;
}

/** The version that the Node object reports. */
export const kubeletVersion = "v1.36.0+keelson";

/** Pods worked on at the same time. A step does not wait for slow things, so these are enough. */
const workers = 32;
/** Statuses written at the same time. */
const reporters = 8;
const keyLimit = 8_192;
const runtimePollMs = 500;

/**
 * Runs the Pods of this node until the signal is aborted. Stopping harms no Pod: everything runs on, and the
 * next agent finds it by what the runtime, the disk and the API tell.
 */
export async function runAgent(config: AgentConfig, ports: AgentPorts, signal: AbortSignal): Promise<void> {
  const { client, clock, log, runtime } = ports;
  const nodeName = config.nodeName === "" ? os.hostname().toLowerCase() : config.nodeName;
  const metrics = agentMetrics();
  metrics.nodeName.set({ node: nodeName }, 1);
  const facts = await readNodeFacts();
  if (config.failSwapOn && facts.swapBytes > 0) {
    log.warn("this machine swaps; Pods may be slower than they expect", { swapBytes: facts.swapBytes });
  }
  await mkdir(config.rootDir, { recursive: true, mode: 0o750 });
  const hostDns = parseResolvConf(await readFile(config.resolvConf, "utf8").catch(() => ""));
  const dirty = new WorkQueue<string>({ limit: keyLimit, backoff: { firstMs: 500, maxMs: 10_000 }, clock });
  const reports = new WorkQueue<string>({ limit: keyLimit, backoff: { firstMs: 200, maxMs: 10_000 }, clock });
  const markDirty = (uid: string): void => dirty.add(uid);
  const stop = new AbortController();
  const running = AbortSignal.any([signal, stop.signal]);

  let hostIps = config.nodeIp.length > 0 ? config.nodeIp : await localAddresses();
  let status: RuntimeStatus | undefined;
  let node: Node | undefined;
  let staticSeen = config.staticPodPath === "";
  let nodeChanged = Promise.withResolvers<void>();
  const runtimeVersion = { text: `${runtime.name}://unknown` };

  const table = new PodTable({
    now: () => clock.now(),
    dirty: markDirty,
    mirrorChanged: (key) => reports.add(`mirror/${key}`),
  });
  const podCache =
    client &&
    new WatchCache<Pod>(podResource, { fieldSelector: `spec.nodeName=${nodeName}` }, { ...ports, client });
  const serviceCache = client && new WatchCache<Service>(serviceResource, {}, { ...ports, client });
  const recorder: EventRecorder =
    client === undefined
      ? logRecorder(log)
      : new ApiEventRecorder(client, { component: "kubelet", host: nodeName }, clock, log);
  const allocatable = {
    cpuMilli: facts.cpus * 1_000,
    memoryBytes: facts.memoryBytes - config.systemReservedMemoryBytes - 100 * 1024 * 1024,
    ephemeralStorageBytes: (await readNodeUse(config.rootDir)).diskCapacityBytes,
  };
  const labels = (): Readonly<Record<string, string>> =>
    node?.metadata?.labels ?? standardLabels(nodeName, facts.architecture);
  const cgroups = await findCgroups().catch(() => undefined);
  status = await runtime.status(signal).catch(() => undefined);

  const context: AgentContext = {
    config,
    nodeName,
    runtime,
    client,
    recorder,
    clock,
    log,
    refs: new ObjectRefs({ ...ports, client }, (uid) => {
      const entry = table.entries.get(uid);
      for (const [name, failure] of entry?.startFailures ?? [])
        if (failure.reason === "CreateContainerConfigError") entry?.startFailures.delete(name);
      markDirty(uid);
    }),
    tokens: new ServiceAccountTokens(client, clock),
    puller: new ImagePuller(runtime, clock, config.maxParallelImagePulls),
    prober: new Prober({
      runtime,
      clock,
      random: ports.random,
      changed: markDirty,
      event: (probed, reason, message) => {
        const pod = table.entries.get(probed.podUid)?.pod;
        const spec =
          pod && containersOf(pod).find(({ container }) => container.name === probed.container.name);
        if (pod !== undefined && spec !== undefined)
          podEvent(context, pod, "Warning", reason, message, fieldPathOf(spec));
      },
    }),
    cgroups,
    cgroupDriver: status?.cgroupDriver ?? config.cgroupDriver,
    node: {
      hostIps: () => hostIps,
      networkReady: () => status?.networkReady === true,
      hostDns: () => hostDns,
      services: () => (serviceCache?.view.state === "complete" ? [...serviceCache.values()] : undefined),
      memoryBytes: facts.memoryBytes,
      minOomScoreAdj: await lowestOomScoreAdj(),
      facts: (podIps) => ({ nodeName, hostIps, podIps, allocatable }),
      labels,
    },
    signal: running,
    markDirty,
  };
  await ensureQosCgroups(context).catch((cause: unknown) =>
    log.warn("cannot make the cgroups of Pods", { cause: errorText(cause) }),
  );

  const isComplete = (): boolean =>
    staticSeen && (podCache === undefined || podCache.view.state === "complete");
  const view = agentView(context, table, () =>
    status === undefined || !status.runtimeReady ? "container runtime is down" : undefined,
  );
  const room = (): NodeRoom => ({
    ...allocatable,
    pods: config.maxPods,
    labels: labels(),
    allowedUnsafeSysctls: config.allowedUnsafeSysctls,
  });

  const step = async (uid: string): Promise<void> => {
    const entry = table.entries.get(uid);
    if (entry === undefined) return;
    const done = metrics.podSyncSeconds.startTimer({ operation_type: "sync" });
    await syncPod(
      context,
      entry,
      {
        others: (own) =>
          [...table.entries.values()]
            .filter(
              (other) => other.uid !== own && other.admitted && other.verdict === undefined && !other.cleaned,
            )
            .map(({ pod }) => pod),
        room,
        report: (one) => reports.add(one.uid),
        forget: (one) => {
          table.forget(one);
          if (one.source === "file") reports.add(`mirror/${keyText(keyOf(one.pod))}`);
        },
        wakeAt: (one, atMs) => dirty.addAfter(one, Math.max(1, atMs - clock.now())),
      },
      running,
    );
    done();
  };

  const reportStep = async (key: string, within: AbortSignal): Promise<void> => {
    if (client === undefined) return;
    const done = metrics.statusWriteSeconds.startTimer();
    if (key.startsWith("mirror/")) {
      const name = key.slice("mirror/".length);
      const entry = table.staticByKey(name);
      const mirror = table.mirrors.get(name);
      if (entry !== undefined) {
        if (mirror === undefined) entry.reported = undefined;
        reports.add(entry.uid);
      } else if (
        mirror !== undefined &&
        isComplete() &&
        ![...table.entries.values()].some(
          ({ source, pod }) => source === "file" && keyText(keyOf(pod)) === name,
        )
      ) {
        await deleteMirror(context, mirror, within);
      }
      done();
      return;
    }
    const entry = table.entries.get(key);
    if (entry === undefined || entry.source === "orphan" || (entry.gone && entry.source === "api")) return;
    if (entry.source === "api") await reportStatus(context, entry, entry.pod, within);
    else if (podCache?.view.state === "complete") {
      const mirrorKey = keyText(keyOf(entry.pod));
      const known = table.mirrors.get(mirrorKey);
      const mirror = entry.gone ? known : await ensureMirror(context, entry, known, node, within);
      if (mirror !== undefined) {
        if (known === undefined) entry.reported = mirror.status ?? {};
        else if (entry.reported === undefined || mirror.metadata?.uid !== known.metadata?.uid)
          entry.reported = mirror.status;
        table.mirrors.set(mirrorKey, mirror);
        await reportStatus(context, entry, mirror, within);
      }
    }
    done();
  };

  /** Looks at everything the runtime has: marks it dirty, and finds what no source knows. */
  const relist = async (within: AbortSignal): Promise<void> => {
    const done = metrics.relistSeconds.startTimer();
    const [sandboxes, containers] = await Promise.all([
      runtime.listSandboxes({}, within),
      runtime.listContainers({}, within),
    ]);
    for (const uid of table.entries.keys()) markDirty(uid);
    if (isComplete()) {
      for (const { podUid, podName, podNamespace } of [...sandboxes, ...containers]) {
        if (podUid === "" || table.entries.has(podUid)) continue;
        log.info("stopping a pod that no source knows", { pod: `${podNamespace}/${podName}`, uid: podUid });
        table.addOrphan({
          metadata: { name: podName, namespace: podNamespace, uid: podUid },
          spec: { containers: [], terminationGracePeriodSeconds: 1 },
        });
      }
      const alive = new Set([...table.entries.keys(), ...sandboxes.map(({ podUid }) => podUid)]);
      for (const uid of await podDirectories(config.rootDir)) {
        if (!alive.has(uid))
          await removePodDirectory(config.rootDir, uid).catch((cause: unknown) =>
            log.warn("cannot remove an orphaned pod directory", { uid, cause: errorText(cause) }),
          );
      }
      for (const key of table.mirrors.keys())
        if (table.staticByKey(key) === undefined) reports.add(`mirror/${key}`);
    }
    metrics.runningPods.set(sandboxes.filter(({ state }) => state === "ready").length);
    for (const state of ["created", "running", "exited", "unknown"] as const) {
      metrics.runningContainers.set(
        { container_state: state },
        containers.filter((container) => container.state === state).length,
      );
    }
    metrics.desiredPods.set(
      { static: "true" },
      [...table.entries.values()].filter(({ source }) => source === "file").length,
    );
    metrics.desiredPods.set(
      { static: "" },
      [...table.entries.values()].filter(({ source }) => source === "api").length,
    );
    done();
  };

  let relistWanted = Promise.withResolvers<void>();
  const askRelist = (): void => relistWanted.resolve();
  const relistLoop = async (within: AbortSignal): Promise<void> => {
    while (!within.aborted) {
      relistWanted = Promise.withResolvers<void>();
      await relist(within).catch((cause: unknown) => {
        if (!within.aborted) log.warn("cannot list what the runtime has", { cause: errorText(cause) });
      });
      await Promise.race([relistWanted.promise, clock.sleep(config.syncMs, within).catch(() => undefined)]);
      if (!within.aborted) await clock.sleep(100, within).catch(() => undefined); // several wishes make one list
    }
  };

  /** Follows the runtime's own word on itself: closely while it is not ready, seldom while it is. */
  const runtimeLoop = async (within: AbortSignal): Promise<void> => {
    while (!within.aborted) {
      const before = status;
      status = await runtime.status(within).catch(
        (cause: unknown): RuntimeStatus => ({
          runtimeReady: false,
          networkReady: false,
          message: errorText(cause),
          cgroupDriver: undefined,
        }),
      );
      if (runtimeVersion.text.endsWith("unknown")) {
        const version = await runtime.version(within).catch(() => undefined);
        if (version !== undefined)
          runtimeVersion.text = `${runtime.name}://${version.version.replace(/^v/, "")}`;
      }
      if (before?.networkReady !== status.networkReady || before.runtimeReady !== status.runtimeReady) {
        for (const uid of table.entries.keys()) markDirty(uid);
        nodeChanged.resolve();
      }
      const well = status.runtimeReady && status.networkReady;
      await clock.sleep(well ? config.nodeStatusMs : runtimePollMs, within).catch(() => undefined);
    }
  };

  const nodeReport = async (within: AbortSignal): Promise<NodeReport> => {
    if (config.nodeIp.length === 0) hostIps = await localAddresses();
    const notReady: string[] = [];
    if (status === undefined || !status.runtimeReady)
      notReady.push(`container runtime is down: ${status?.message ?? "it did not answer"}`);
    else if (!status.networkReady)
      notReady.push(
        `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:${status.message}`,
      );
    return {
      nodeName,
      addresses: hostIps,
      facts,
      use: await readNodeUse(config.rootDir),
      maxPods: config.maxPods,
      reservedMemoryBytes: config.systemReservedMemoryBytes,
      port: config.port,
      runtimeVersion: runtimeVersion.text,
      kubeletVersion,
      images: await runtime.listImages(within).catch(() => []),
      notReady,
    };
  };

  const worker = (within: AbortSignal): Promise<void> =>
    reconcile(
      dirty,
      step,
      (uid, cause) => {
        metrics.podSyncFailures.inc();
        log.warn("cannot sync a pod", { uid, pod: nameOf(table, uid), cause: errorText(cause) });
      },
      within,
    );
  const reporter = (within: AbortSignal): Promise<void> =>
    reconcile(
      reports,
      reportStep,
      (key, cause) => log.warn("cannot report a pod's status", { key, cause: errorText(cause) }),
      within,
    );

  podCache?.subscribe((key, now, before) => table.apiChanged(key, now, before));
  serviceCache?.synced(running).then(
    () => {
      for (const uid of table.entries.keys()) markDirty(uid);
    },
    () => undefined,
  );
  podCache?.synced(running).then(askRelist, () => undefined);

  try {
    await together(
      signal,
      ...Array.from({ length: workers }, () => worker),
      ...Array.from({ length: reporters }, () => reporter),
      relistLoop,
      runtimeLoop,
      (within) =>
        followRuntime(
          {
            runtime,
            clock,
            log,
            dirty: (uid) => {
              if (table.entries.has(uid)) markDirty(uid);
            },
            relist: askRelist,
          },
          within,
        ),
      (within) =>
        config.staticPodPath === ""
          ? Promise.resolve()
          : followStaticPods(
              config.staticPodPath,
              config.fileCheckMs,
              {
                nodeName,
                clock,
                log,
                changed: (pods) => {
                  table.staticChanged(pods);
                  if (!staticSeen) {
                    staticSeen = true;
                    askRelist();
                  }
                },
              },
              within,
            ),
      (within) => podCache?.run(within) ?? Promise.resolve(),
      (within) => serviceCache?.run(within) ?? Promise.resolve(),
      (within) =>
        keepNode(
          context,
          {
            report: nodeReport,
            seen: (one) => {
              node = one;
            },
            changed: async (ms, inner) => {
              await Promise.race([nodeChanged.promise, clock.sleep(ms, inner)]);
              nodeChanged = Promise.withResolvers<void>();
            },
          },
          within,
        ),
      (within) => collectImages(context, within),
      (within) =>
        ports.startServer?.(config, { view, runtime, client, log, clock, metrics }, within) ??
        Promise.resolve(),
      () => {
        ports.ready?.(view);
        return Promise.resolve();
      },
    );
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    stop.abort();
    context.prober.close();
    dirty.close();
    reports.close();
    await context.refs.close();
    if (recorder instanceof ApiEventRecorder) recorder.close();
  }
}

function logRecorder(log: Log): EventRecorder {
  return {
    event: (target, type, reason, message) =>
      log.info("event", { object: keyText(keyOf(target)), type, reason, message }),
  };
}

function nameOf(table: PodTable, uid: string): string {
  const pod = table.entries.get(uid)?.pod;
  return pod === undefined ? "" : keyText(keyOf(pod));
}
