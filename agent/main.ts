import { readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ApiClient } from "#api/client.ts";
import { ApiEventRecorder, type EventRecorder } from "#api/event-recorder.ts";
import type { Node, Pod, Service } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { pods as podResource, services as serviceResource } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import { kubernetesVersion } from "#api/version.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { reconcile } from "#lib/reconcile.ts";
import { type Task, together } from "#lib/together.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { WorkQueue } from "#lib/work-queue.ts";
import { findCgroups } from "#linux/cgroup.ts";
import { KernelLog } from "#linux/kernel-log.ts";
import { type AgentContext, podEvent } from "./agent-context.ts";
import { agentView } from "./agent-view.ts";
import { makeRoom } from "./apply/make-room.ts";
import { keepNode } from "./apply/node-object.ts";
import { mirrorKey, reportStep } from "./apply/report-step.ts";
import { rotateLogs } from "./apply/rotate-logs.ts";
import type { AgentConfig } from "./config.ts";
import { type LocalDesk, localDesk } from "./explain/local-desk.ts";
import { networkUpMs } from "./explain/network-up.ts";
import { PodJournals } from "./explain/pod-journals.ts";
import { tellStuck } from "./explain/tell-stuck.ts";
import { serveHealth } from "./health-server.ts";
import { collectImages } from "./images/collect-images.ts";
import { CredentialPlugins } from "./images/credential-plugins.ts";
import { ImagePuller } from "./images/image-puller.ts";
import { PullRecords, recordFolder } from "./images/pull-records.ts";
import { type Knowledge, PodCache } from "./last-known/pod-cache.ts";
import { agentMetrics, type AgentMetrics, tellVolumeSizes } from "./metrics.ts";
import type { AgentView } from "./model.ts";
import { enforcesAppArmor } from "./observe/apparmor.ts";
import { localAddresses, lowestOomScoreAdj, readNodeFacts, readNodeUse } from "./observe/node-facts.ts";
import { OomKills } from "./observe/oom-kills.ts";
import { Relister } from "./observe/relist.ts";
import { followRuntime } from "./observe/runtime-events.ts";
import { RuntimeState } from "./observe/runtime-state.ts";
import { seLinuxFileLabel } from "./observe/selinux.ts";
import { SlowCalls } from "./observe/slow-calls.ts";
import { followStaticPods } from "./observe/static-pods.ts";
import { StaticSources } from "./observe/static-sources.ts";
import { followStaticUrl } from "./observe/static-url.ts";
import type { NodeRoom } from "./plan/admission.ts";
import { containersOf, fieldPathOf } from "./plan/containers-of.ts";
import { allocatableOf, type NodeReport, standardLabels } from "./plan/node-status.ts";
import { isPassingStatus } from "./plan/passing-status.ts";
import { parseResolvConf } from "./plan/resolv-conf.ts";
import { sortPodIps } from "./plan/sort-pod-ips.ts";
import { swapFault } from "./plan/swap.ts";
import { followPlugins } from "./plugin-registry/follow-plugins.ts";
import { PodTable } from "./pod-table.ts";
import { ProbeResults } from "./probes/probe-results.ts";
import { type Probed, Prober } from "./probes/prober.ts";
import { Allocations } from "./resources/allocations.ts";
import { limitLocalStorage } from "./resources/local-storage.ts";
import { podIds, UserNamespaces } from "./resources/user-namespaces.ts";
import { ensureQosCgroups } from "./resources/pod-cgroups.ts";
import { type Runtime, RuntimeError } from "./runtime/runtime.ts";
import { syncPod, type SyncPorts } from "./sync-pod.ts";
import { builtinPlugins } from "./volumes/builtin-plugins.ts";
import { CsiDrivers } from "./volumes/csi/csi-drivers.ts";
import { CsiNodeNotes } from "./volumes/csi/csi-node-notes.ts";
import { CsiObjects } from "./volumes/csi/csi-objects.ts";
import { CsiPlugin } from "./volumes/csi/csi-plugin.ts";
import { NotesWhenReached } from "./volumes/csi/notes-when-reached.ts";
import { growVolumes } from "./volumes/grow-volumes.ts";
import { ObjectRefs } from "./volumes/object-refs.ts";
import { ServiceAccountTokens } from "./volumes/service-account-tokens.ts";
import { VolumeReadings } from "./volumes/volume-readings.ts";
import { TrustBundles } from "./volumes/trust-bundles.ts";
import { Volumes } from "./volumes/volumes.ts";

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
  /** Serves the local socket until the signal; none in most tests: there is one on a machine. */
  readonly startLocalSocket?: (
    config: AgentConfig,
    ports: { readonly desk: LocalDesk; readonly log: Log },
    signal: AbortSignal,
  ) => Promise<void>;
  /** Told when every part has started. */
  readonly ready?: (view: AgentView) => void;
}

/** Pods worked on at the same time. A step does not wait for slow things, so these are enough. */
const workers = 32;
/** Statuses written at the same time. */
const reporters = 8;
const keyLimit = 8_192;
/** How long a status that soon is another waits for it: three writes for the start of a Pod become one. */
const passingStatusMs = 250;

/**
 * Runs the Pods of this node until the signal is aborted. Stopping harms no Pod: everything runs on, and the
 * next agent finds it by what the runtime, the disk and the API tell.
 * @throws Error on a machine that swaps, unless that is allowed.
 */
export async function runAgent(config: AgentConfig, ports: AgentPorts, signal: AbortSignal): Promise<void> {
  const { client, clock, log, runtime } = ports;
  const stop = new AbortController();
  const running = AbortSignal.any([signal, stop.signal]);
  const nodeName = config.nodeName === "" ? os.hostname().toLowerCase() : config.nodeName;
  const metrics = agentMetrics();
  metrics.nodeName.set({ node: nodeName }, 1);
  const facts = await readNodeFacts();
  const fault = swapFault(config.failSwapOn, facts.swapBytes);
  if (fault !== undefined) throw new Error(fault);
  if (facts.swapBytes > 0) {
    log.warn("this machine swaps; limits of memory do not count it", { swapBytes: facts.swapBytes });
  }
  await makeFolder(config.rootDir, 0o750);

  const { random } = ports;
  const dirty = new WorkQueue<string>({
    limit: keyLimit,
    backoff: { firstMs: 500, maxMs: 10_000 },
    clock,
    random,
  });
  const reports = new WorkQueue<string>({
    limit: keyLimit,
    backoff: { firstMs: 200, maxMs: 10_000 },
    clock,
    random,
  });
  const table = new PodTable({
    now: () => clock.now(),
    dirty: (uid) => dirty.add(uid),
    mirrorChanged: (key) => reports.add(mirrorKey(key)),
  });
  const markAll = (): void => {
    for (const uid of table.entries.keys()) dirty.add(uid);
  };
  const lastKnown = await PodCache.open({
    folder: path.join(config.rootDir, "pod-cache"),
    mode: client === undefined ? "off" : config.podCache,
    afterMs: config.podCacheAfterMs,
    nodeName,
    clock,
    log,
  });
  const reader = client && lastKnown.reader(client);
  const nodePods = { fieldSelector: `spec.nodeName=${nodeName}` };
  const podCache = client && new WatchCache<Pod>(podResource, nodePods, { ...ports, client });
  const serviceCache = client && new WatchCache<Service>(serviceResource, {}, { ...ports, client });
  const sender = client
    ? new ApiEventRecorder(client, { component: "kubelet", host: nodeName }, clock, log)
    : logRecorder(log);
  const journals = new PodJournals({
    clock,
    hasApi: client !== undefined,
    isKnown: (uid) => table.entries.has(uid),
    nameOf: (uid, id) => table.entries.get(uid)?.runtime.containers.find((one) => one.id === id)?.name,
    networkUpMs,
  });
  const recorder = journals.recorder(sender);
  const state = new RuntimeState(runtime, clock);
  await state.refresh(signal);

  let hostIps = config.nodeIp.length > 0 ? config.nodeIp : await localAddresses();
  let node: Node | undefined;
  const statics = new StaticSources(
    [...(config.staticPodPath === "" ? [] : ["file"]), ...(config.staticPodUrl === "" ? [] : ["http"])],
    (found, completes) => {
      table.staticChanged(found);
      if (completes) relister.ask();
    },
  );
  let nodeChanged = Promise.withResolvers<void>();
  const use = await readNodeUse(config.rootDir);
  const allocatable = allocatableOf(facts, use, config.systemReservedMemoryBytes);
  const appArmorEnabled = await enforcesAppArmor();
  const hostDns = parseResolvConf(await readFile(config.resolvConf, "utf8").catch(() => ""));
  const labels = (): Readonly<Record<string, string>> =>
    node?.metadata?.labels ?? standardLabels(nodeName, facts.architecture);
  const sayProbe = (probed: Probed, reason: string, message: string): void => {
    const pod = table.entries.get(probed.podUid)?.pod;
    const spec = pod && containersOf(pod).find(({ container }) => container.name === probed.container.name);
    if (pod !== undefined && spec !== undefined) {
      podEvent(context, pod, "Warning", reason, message, fieldPathOf(spec));
    }
  };

  const sayOfPod = (uid: string, message: string): void => {
    const entry = table.entries.get(uid);
    if (entry === undefined) return;
    const words = `error syncing pod: ${message}`;
    // Said once for as long as it stays the same: a step that fails comes again and again.
    if (entry.said.get("sync") === message) {
      journals.of(uid).error("FailedSync", words);
      return;
    }
    entry.said.set("sync", message);
    podEvent(context, entry.pod, "Warning", "FailedSync", words);
  };
  const slowCalls = new SlowCalls(clock, (uid, message) => {
    log.warn("the runtime is slow", { uid, message });
    sayOfPod(uid, message);
  });
  const refs = new ObjectRefs({ ...ports, client, recall: (place) => lastKnown.recall(place) }, (uid) => {
    lastKnown.changed();
    table.entries.get(uid)?.forgetConfigErrors();
    dirty.add(uid);
  });
  const tokens = new ServiceAccountTokens(client, clock, lastKnown, (pod) => {
    log.warn("a pod begins without a service account token", { pod: keyText(keyOf(pod)) });
    podEvent(context, pod, "Warning", "ServiceAccountTokenMissing", tokenMissing);
  });
  const csiDrivers = new CsiDrivers({
    clock,
    notes: new NotesWhenReached({
      notes: new CsiNodeNotes(client, nodeName, clock, (one) => nodePorts.seen(one)),
      away: () => lastKnown.away,
      reached: (within) => lastKnown.reached(within),
      clock,
      log,
      signal: running,
    }),
  });
  const fileLabel = await seLinuxFileLabel().catch((cause: unknown) => {
    log.warn("cannot read the node's SELinux labels; volumes are not mounted with them", {
      cause: errorText(cause),
    });
    return undefined;
  });
  const csi = new CsiPlugin({
    ...(fileLabel === undefined ? {} : { fileLabel }),
    rootDir: config.rootDir,
    nodeName,
    drivers: csiDrivers,
    objects: new CsiObjects(reader, nodeName, clock),
    tokens,
    clock,
  });
  const trustBundles = new TrustBundles({ ...ports, client }, (uid) => dirty.add(uid));
  const builtin = await builtinPlugins({
    refs,
    tokens,
    trustBundles,
    reader,
    clock,
    rootDir: config.rootDir,
    flexFolder: config.volumePluginDir,
  });
  const volumes = new Volumes({
    rootDir: config.rootDir,
    plugins: [...builtin, csi],
    client: reader,
    nodeName,
    nodeLabels: labels,
    clock,
    log,
    inUseChanged: () => nodeChanged.resolve(),
    warn: (uid, reason, message) => {
      const entry = table.entries.get(uid);
      if (entry !== undefined) podEvent(context, entry.pod, "Warning", reason, message);
    },
    changed: (uid) => dirty.add(uid),
  });
  await volumes.start();
  const volumeReadings = new VolumeReadings({
    clock,
    log,
    volumes: () => volumes.all(),
    periodMs: config.volumeStatsMs,
    changed: (readings) => tellVolumeSizes(metrics, readings),
    took: (source, seconds) => metrics.volumeReadSeconds.observe({ metric_source: source }, seconds),
    abnormal: (uid, volume, message) => {
      const pod = table.entries.get(uid)?.pod;
      if (pod !== undefined)
        podEvent(context, pod, "Warning", "VolumeConditionAbnormal", `Volume ${volume}: ${message}`);
    },
  });
  const probeResults = await ProbeResults.open(path.join(config.rootDir, "probe-results.json"), log);
  const pullRecords = await PullRecords.open({
    store: recordFolder(config.rootDir),
    clock,
    log,
    policy: config.imagePullCredentialsVerificationPolicy,
    allowlist: config.preloadedImagesVerificationAllowlist,
  });
  const context: AgentContext = {
    config,
    nodeName,
    runtime: journals.watch(slowCalls.watch(runtime), () => slowCalls.podUid),
    client,
    reader,
    recorder,
    journals,
    clock,
    log,
    refs,
    allocations: await Allocations.open(path.join(config.rootDir, "allocated-resources.json"), log),
    tokens,
    volumes,
    volumeReadings,
    puller: new ImagePuller(
      runtime,
      clock,
      {
        parallel: config.serializeImagePulls ? 1 : config.maxParallelImagePulls,
        perSecond: config.registryPullQps,
        burst: config.registryBurst,
      },
      pullRecords,
    ),
    pullRecords,
    plugins: await CredentialPlugins.open(
      config.imageCredentialProviderConfig,
      config.imageCredentialProviderBinDir,
      { clock, log },
    ),
    prober: new Prober({
      runtime,
      clock,
      random,
      results: probeResults,
      changed: (uid) => dirty.add(uid),
      succeeded: ({ podUid, container }, kind) => journals.of(podUid).moment(`${kind} probe`, container.name),
      event: sayProbe,
    }),
    userNamespaces: await UserNamespaces.open(config.rootDir, await podIds()),
    cgroups: await findCgroups().catch(() => undefined),
    cgroupDriver: state.status?.cgroupDriver ?? config.cgroupDriver,
    node: {
      hostIps: () => hostIps,
      networkReady: () => state.networkReady,
      hostDns: () => hostDns,
      services: () =>
        serviceCache?.view.state === "complete" || serviceCache?.seeded === true
          ? [...serviceCache.values()]
          : undefined,
      memoryBytes: facts.memoryBytes,
      hugePages: facts.hugePages,
      minOomScoreAdj: await lowestOomScoreAdj(),
      facts: (podIps) => ({ nodeName, hostIps, podIps: sortPodIps(podIps, hostIps[0]), allocatable }),
      labels,
      handlers: () => state.status?.handlers ?? [],
    },
    signal: running,
    markDirty: (uid) => dirty.add(uid),
  };
  await ensureQosCgroups(context).catch((cause: unknown) =>
    log.warn("cannot make the cgroups of Pods", { cause: errorText(cause) }),
  );

  const apiComplete = (): boolean => podCache?.view.state === "complete";
  const isComplete = (): boolean => statics.complete && (podCache === undefined || apiComplete());
  const view = agentView(context, table, () =>
    state.troubles.find((trouble) => /runtime is down/.test(trouble)),
  );
  const desk = localDesk(context, table, {
    runtime: () => (state.runtimeReady ? undefined : state.troubles[0]),
    api: () => (podCache?.lastError === undefined ? undefined : errorText(podCache.lastError)),
  });
  const room = (): NodeRoom => ({
    ...allocatable,
    pods: config.maxPods,
    node: node ?? { metadata: { name: nodeName, labels: labels() } },
    allowedUnsafeSysctls: config.allowedUnsafeSysctls,
    appArmorEnabled,
    strictGroups: state.status?.strictGroups ?? false,
  });
  const syncPorts: SyncPorts = {
    others: (own) => table.admitted(own),
    room,
    makeRoom: (entry, refusal) => makeRoom(context, entry, refusal, table.entries.values(), room()),
    nodeKnown: () => node !== undefined,
    report: (entry) => {
      journals.statusComputed(entry);
      const { status, terminatingSinceMs } = entry;
      const canWait = terminatingSinceMs === undefined && status !== undefined && isPassingStatus(status);
      if (canWait) reports.addAfter(entry.uid, passingStatusMs);
      else reports.add(entry.uid);
    },
    forget: (entry) => {
      table.forget(entry);
      if (!table.entries.has(entry.uid)) journals.forget(entry.uid);
      if (entry.source === "file") reports.add(mirrorKey(keyText(keyOf(entry.pod))));
    },
    roomFreed: () => {
      for (const uid of table.waitingForRoom()) dirty.add(uid);
    },
    wakeAt: (uid, atMs) => dirty.addAfter(uid, Math.max(1, atMs - clock.now())),
  };
  const relister = new Relister(context, {
    table,
    metrics,
    isComplete,
    checkMirror: (key) => reports.add(mirrorKey(key)),
    random,
  });

  const step = async (uid: string, within: AbortSignal): Promise<void> => {
    const entry = table.entries.get(uid);
    // A runtime that is away would fail every Pod in turn: all of them wait, and are looked at when it is back.
    if (entry === undefined || !state.runtimeReady) return;
    const done = metrics.podSyncSeconds.startTimer({ operation_type: "sync" });
    await slowCalls.within(uid, async () => await syncPod(context, entry, syncPorts, within));
    entry.said.delete("sync");
    done();
  };
  const stepFailed = (uid: string, cause: unknown): void => {
    metrics.podSyncFailures.inc();
    if (cause instanceof RuntimeError && cause.code === "unavailable") state.lookNow();
    log.warn("cannot sync a pod", { uid, cause: errorText(cause) });
    sayOfPod(uid, errorText(cause));
  };
  const report = async (key: string, within: AbortSignal): Promise<void> => {
    const done = metrics.statusWriteSeconds.startTimer();
    const again = (uid: string): void => reports.add(uid);
    await reportStep(context, key, { table, isComplete, apiComplete, node: () => node, again }, within);
    const entry = table.entries.get(key);
    if (entry !== undefined) journals.statusWritten(entry);
    done();
  };
  const reportFailed = (key: string, cause: unknown): void => {
    log.warn("cannot report a pod's status", { key, cause: errorText(cause) });
    journals.statusNotWritten(key, errorText(cause));
  };
  const nodeReport = async (within: AbortSignal): Promise<NodeReport> => {
    if (config.nodeIp.length === 0) hostIps = await localAddresses();
    return {
      nodeName,
      addresses: hostIps,
      facts,
      use: await readNodeUse(config.rootDir),
      maxPods: config.maxPods,
      handlers: state.status?.handlers ?? [],
      strictGroups: state.status?.strictGroups ?? false,
      reservedMemoryBytes: config.systemReservedMemoryBytes,
      port: config.port,
      runtimeVersion: state.version,
      kubeletVersion: kubernetesVersion,
      images: await runtime.listImages(within).catch(() => []),
      notReady: [...state.troubles, relister.trouble].filter((trouble) => trouble !== undefined),
      volumesInUse: volumes.inUse(),
    };
  };
  const nodePorts = {
    report: nodeReport,
    seen: (one: Node): void => {
      const isFirst = node === undefined;
      node = one;
      lastKnown.changed();
      if (isFirst) markAll();
    },
    changed: async (ms: number, within: AbortSignal): Promise<void> => {
      await Promise.race([nodeChanged.promise, clock.sleep(ms, within)]);
      nodeChanged = Promise.withResolvers<void>();
    },
  };
  const kernelLog = openKernelLog(log);
  const oomKills = new OomKills(
    {
      clock,
      log,
      metrics,
      lines: (limit) => kernelLog?.read(limit) ?? [],
      find: (id) => {
        const found = table.containerById(id);
        return found && { ...found, memoryLimit: found.spec?.container.resources?.limits?.["memory"] };
      },
      isRunning: async (id, within) => (await runtime.containerStatus(id, within))?.state === "running",
      sayOfContainer: ({ entry, spec }, message) =>
        podEvent(context, entry.pod, "Warning", "OOMKilling", message, spec && fieldPathOf(spec)),
      sayOfNode: (message) =>
        recorder.event(
          { apiVersion: "v1", kind: "Node", metadata: { name: nodeName, uid: nodeName } },
          "Warning",
          "SystemOOM",
          message,
        ),
    },
    running,
  );
  const runtimePorts = {
    runtime,
    clock,
    log,
    dirty: (uid: string): void => {
      oomKills.look();
      if (table.entries.has(uid)) dirty.add(uid);
      else relister.ask();
    },
    relist: (): void => relister.ask(),
    broke: (): void => state.lookNow(),
  };
  const knowledge = (): Knowledge | undefined =>
    podCache?.view.state === "complete" && serviceCache?.view.state === "complete"
      ? {
          node,
          pods: podCache.values(),
          services: serviceCache.values(),
          refs: refs.known(),
          tokens: tokens.known(),
        }
      : undefined;
  const runFromMemory = async (cache: WatchCache<Pod>, within: AbortSignal): Promise<void> => {
    const left = await lastKnown.whenAway(cache, within);
    if (left === undefined) return;
    log.warn("the API cannot be reached; the Pods of before are run", { pods: left.pods.length });
    node ??= left.nodes[0];
    serviceCache?.seed(left.services);
    cache.seed(left.pods);
    await cache.synced(within);
    lastKnown.back();
    log.info("the API is back", {});
    recorder.event(
      { apiVersion: "v1", kind: "Node", metadata: { name: nodeName, uid: nodeName } },
      "Warning",
      "StartedFromPodCache",
      `The API server could not be reached when the node started: ${left.pods.length} pods were run as they were last known.`,
    );
  };
  const growPorts = {
    client,
    nodeName,
    clock,
    log,
    volumes: () => volumes.all(),
    event: (uid: string, type: "Normal" | "Warning", reason: string, message: string): void => {
      const pod = table.entries.get(uid)?.pod;
      if (pod !== undefined) podEvent(context, pod, type, reason, message);
    },
  };
  const pluginPorts = {
    handlers: { CSIPlugin: csiDrivers },
    clock,
    log,
    settled: () => csiDrivers.settle(),
  };
  const staticPorts = { nodeName, clock, log };

  podCache?.subscribe((key, now, before) => {
    table.apiChanged(key, now, before);
    lastKnown.changed();
  });
  serviceCache?.subscribe(() => lastKnown.changed());
  podCache?.synced(running).then(() => relister.ask(), noMatter);
  serviceCache?.synced(running).then(markAll, noMatter);
  try {
    await together(
      signal,
      ...times(workers, (within) => reconcile(dirty, step, stepFailed, within)),
      ...times(reporters, (within) => reconcile(reports, report, reportFailed, within)),
      (within) => relister.run(within),
      (within) =>
        state.follow(
          config.nodeStatusMs,
          () => {
            markAll();
            nodeChanged.resolve();
          },
          within,
        ),
      (within) => followRuntime(runtimePorts, within),
      (within) => followPlugins(path.join(config.rootDir, "plugins_registry"), pluginPorts, within),
      async (within) => {
        if (config.staticPodPath === "") return;
        const file = { ...staticPorts, changed: (found: readonly Pod[]) => statics.tell("file", found) };
        await followStaticPods(config.staticPodPath, config.fileCheckMs, file, within);
      },
      async (within) => {
        if (config.staticPodUrl === "") return;
        const source = { url: config.staticPodUrl, headers: config.staticPodUrlHeaders };
        const http = { ...staticPorts, changed: (found: readonly Pod[]) => statics.tell("http", found) };
        await followStaticUrl(source, config.httpCheckMs, http, within);
      },
      async (within) => podCache?.run(within),
      async (within) => serviceCache?.run(within),
      async (within) => {
        if (podCache !== undefined) await runFromMemory(podCache, within);
      },
      (within) => lastKnown.run(knowledge, within),
      (within) => keepNode(context, nodePorts, within),
      (within) => collectImages(context, () => [...table.entries.values()].map(({ pod }) => pod), within),
      (within) => volumeReadings.run(within),
      (within) => growVolumes(growPorts, within),
      (within) => rotateLogs(context, within),
      (within) =>
        tellStuck(
          {
            clock,
            entries: () => table.entries.values(),
            explain: (uid) => desk.explain(uid),
            say: ({ pod }, message) => podEvent(context, pod, "Warning", "StuckTerminating", message),
          },
          within,
        ),
      (within) => limitLocalStorage(context, () => table.entries.values(), within),
      async (within) => {
        if (kernelLog !== undefined) await oomKills.run(within);
      },
      (within) => serveHealth(config, view, within),
      async (within) => ports.startServer?.(config, { view, runtime, client, log, clock, metrics }, within),
      async (within) => ports.startLocalSocket?.(config, { desk, log }, within),
      async () => ports.ready?.(view),
    );
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    stop.abort();
    context.prober.close();
    kernelLog?.close();
    await probeResults.flushed();
    dirty.close();
    reports.close();
    await volumes.close();
    csiDrivers.close();
    await context.refs.close();
    await trustBundles.close();
    if (sender instanceof ApiEventRecorder) sender.close();
  }
}

/** Without an API the log is where a user looks. */
function logRecorder(log: Log): EventRecorder {
  return {
    event: (target, type, reason, message) =>
      log.info("event", { object: keyText(keyOf(target)), type, reason, message }),
  };
}

const tokenMissing =
  "the API server cannot be reached: the pod begins with an empty service account token, and gets one when the API server is back";

/** Without it nobody is told of children that are killed for want of memory; everything else goes on. */
function openKernelLog(log: Log): KernelLog | undefined {
  try {
    return KernelLog.open();
  } catch (cause) {
    log.warn("cannot watch for OOM kills", { cause: errorText(cause) });
    return undefined;
  }
}

function times(count: number, task: Task): readonly Task[] {
  return Array.from({ length: count }, () => task);
}

function noMatter(): void {}
