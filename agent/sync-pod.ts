import { rm } from "node:fs/promises";
import { type AgentContext, podEvent } from "./agent-context.ts";
import { createSandbox, logDirectoryOf } from "./apply/create-sandbox.ts";
import { grantResources } from "./apply/grant-resources.ts";
import { killContainer } from "./apply/kill-container.ts";
import { mountVolumes } from "./apply/mount-volumes.ts";
import { removeContainer } from "./apply/log-links.ts";
import { isReplaced } from "./apply/replaced-mark.ts";
import { resizePod } from "./apply/resize-pod.ts";
import { runtimeHandler } from "./apply/runtime-handler.ts";
import { startContainer } from "./apply/start-container.ts";
import { terminationMessage } from "./apply/termination-message.ts";
import { backingOffPull } from "./images/image-puller.ts";
import { nodeCredentials, secretCredentials } from "./images/credentials.ts";
import { accountMark, podAccount } from "./images/pod-account.ts";
import { pullSecrets } from "./images/pull-secrets.ts";
import type { PodMemory, PodVerdict } from "./model.ts";
import { admissionRefusal, type NodeRoom } from "./plan/admission.ts";
import { newestSandbox } from "./plan/container-records.ts";
import { containersOf, fieldPathOf } from "./plan/containers-of.ts";
import { deadOf } from "./plan/dead-containers.ts";
import type { StepName } from "./plan/explain/pod-step.ts";
import { mustStop, planPod, type PodAction, type PodPlan } from "./plan/pod-actions.ts";
import { isPullFailure } from "./plan/pull-words.ts";
import { podStatus } from "./plan/pod-status.ts";
import { probesOf } from "./plan/probe-verdict.ts";
import { objectRefs } from "./plan/volume-files.ts";
import type { PodEntry } from "./pod-entry.ts";
import { removePodCgroup } from "./resources/pod-cgroups.ts";
import type { ContainerStatus } from "./runtime/runtime.ts";

/** Until a Pod that waits for others to end looks again. */
const roomLookMs = 500;

/** What one step of a Pod needs besides the context. */
export interface SyncPorts {
  /** Pods that count against the node's room, without the one asked about. */
  readonly others: (uid: string) => readonly PodEntry["pod"][];
  readonly room: () => NodeRoom;
  /** False while a Pod of the API cannot be judged: this node's own object has not been seen. */
  readonly nodeKnown: () => boolean;
  /** A Pod has ended or got smaller: what waits for room is looked at. */
  readonly roomFreed: () => void;
  /** A Pod does not fit: a critical one has others turned out, and waits. */
  readonly makeRoom: (entry: PodEntry, refusal: PodVerdict) => "wait" | PodVerdict;
  /** The status is new: it has to reach the API. */
  readonly report: (entry: PodEntry) => void;
  /** Nothing is left of it. */
  readonly forget: (entry: PodEntry) => void;
  readonly wakeAt: (uid: string, atMs: number) => void;
}

/**
 * One step for one Pod: read what the runtime has, plan, apply, compute the status. Idempotent; never waits for
 * an image, a hook or a container to stop: those go on in the background and mark the Pod dirty.
 */
export async function syncPod(
  context: AgentContext,
  entry: PodEntry,
  ports: SyncPorts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, runtime } = context;
  useObjects(context, entry); // read while the runtime answers
  const [sandboxes, containers] = await Promise.all([
    runtime.listSandboxes({ podUid: entry.uid }, signal),
    runtime.listContainers({ podUid: entry.uid }, signal),
  ]);
  entry.runtime = { sandboxes, containers };
  const now = clock.now();
  if (entry.gone || entry.pod.metadata?.deletionTimestamp !== undefined) entry.terminatingSinceMs ??= now;
  if (!admit(context, entry, ports)) return;
  await grantResources(context, entry, ports);
  judgeDeadline(context, entry, ports);
  await readLastWords(context, entry);
  trackProbes(context, entry);
  const pod = entry.withStatus();
  let plan = planPod(pod, entry.runtime, memoryOf(context, entry), now);
  sayBackOff(context, entry, plan);
  sayNetwork(context, entry);
  let again = false;
  // The status is computed before slow actions too, so that users see what is waited for.
  report(context, entry, ports);
  if (entry.volumes.state === "ready" && !mustStop(pod, memoryOf(context, entry)))
    await mountVolumes(context, entry, ports.wakeAt, signal);
  if (!mustStop(pod, memoryOf(context, entry))) await resizePod(context, entry, ports.wakeAt, signal);
  const [first] = plan.actions;
  if (first?.do === "mount-volumes" && sandboxes.length === 0) {
    // Volumes are not the runtime's: what waited for them goes on from what has been read.
    const isReady = await apply(context, entry, first, ports, signal);
    plan = isReady
      ? planPod(pod, entry.runtime, memoryOf(context, entry), clock.now())
      : { ...plan, actions: plan.actions.slice(1) };
  }
  for (const action of plan.actions) again = (await apply(context, entry, action, ports, signal)) || again;
  await removeDead(context, entry, signal);
  report(context, entry, ports);
  if (plan.wakeAtMs !== undefined) ports.wakeAt(entry.uid, plan.wakeAtMs);
  if (entry.volumesRefreshAtMs !== undefined) ports.wakeAt(entry.uid, entry.volumesRefreshAtMs);
  if (again) context.markDirty(entry.uid);
}

/** What the plans read of an entry. */
export function memoryOf(context: AgentContext, entry: PodEntry): PodMemory {
  return entry.memory((id) => context.prober.state(id), {
    networkReady: context.node.networkReady(),
    maxRestartWaitMs: context.config.maxRestartWaitMs,
  });
}

/** @returns whether the Pod has to be looked at again at once. */
async function apply(
  context: AgentContext,
  entry: PodEntry,
  action: PodAction,
  ports: SyncPorts,
  signal: AbortSignal,
): Promise<boolean> {
  switch (action.do) {
    case "mount-volumes":
      return entry.volumes.state === "ready" ? false : mountVolumes(context, entry, ports.wakeAt, signal);
    case "kill-container":
      killContainer(context, entry, action);
      return false;
    case "stop-sandbox":
      await context.runtime.stopSandbox(action.id, signal);
      return true;
    case "create-sandbox":
      if (await createSandbox(context, entry, action.attempt, signal)) return true;
      ports.wakeAt(entry.uid, entry.sandboxFailure?.retryAtMs ?? context.clock.now() + 5_000);
      return false;
    case "pull-image":
      pullImage(context, entry, action);
      return false;
    case "start-container":
      await startContainer(context, entry, action, signal);
      return true;
    case "remove-container":
      await removeContainer(context, entry.pod, action.container, signal);
      return true;
    case "remove-run":
      await removeRun(context, entry, action.container, signal);
      return true;
    case "clean-up":
      await cleanUp(context, entry, ports, signal);
      return false;
    default:
      return action satisfies never;
  }
}

/** @returns false when it is too early to say; the Pod is looked at again when the node is known, or has room. */
function admit(context: AgentContext, entry: PodEntry, ports: SyncPorts): boolean {
  if (entry.admitted || entry.verdict !== undefined) return true;
  // What runs already was admitted before: a restarted agent turns nobody out.
  const runs = entry.runtime.containers.length > 0 || entry.runtime.sandboxes.length > 0;
  if (!runs && entry.source !== "orphan" && entry.terminatingSinceMs === undefined) {
    if (entry.source === "api" && !ports.nodeKnown()) return false;
    const refusal = admissionRefusal(entry.pod, ports.others(entry.uid), ports.room());
    const verdict = refusal && ports.makeRoom(entry, refusal);
    if (verdict === "wait") {
      ports.wakeAt(entry.uid, context.clock.now() + roomLookMs);
      return false;
    }
    if (verdict !== undefined) {
      entry.verdict = verdict;
      podEvent(context, entry.pod, "Warning", verdict.reason, verdict.message);
    }
  }
  entry.admitted = true;
  return true;
}

function judgeDeadline(context: AgentContext, entry: PodEntry, ports: SyncPorts): void {
  const seconds = entry.pod.spec?.activeDeadlineSeconds;
  const start = entry.status?.startTime;
  if (seconds === undefined || start === undefined || entry.verdict !== undefined) return;
  if (entry.status?.phase === "Succeeded" || entry.status?.phase === "Failed") return;
  const deadlineMs = Date.parse(start) + seconds * 1_000;
  if (deadlineMs > context.clock.now()) {
    ports.wakeAt(entry.uid, deadlineMs);
    return;
  }
  entry.verdict = {
    phase: "Failed",
    reason: "DeadlineExceeded",
    message: "Pod was active on the node longer than the specified deadline",
  };
  entry.terminatingSinceMs ??= context.clock.now();
  podEvent(
    context,
    entry.pod,
    "Normal",
    "DeadlineExceeded",
    "Pod was active on the node longer than the specified deadline",
  );
}

function useObjects(context: AgentContext, entry: PodEntry): void {
  const { namespace = "" } = entry.pod.metadata ?? {};
  const none = { configMaps: new Set<string>(), secrets: new Set<string>() };
  context.refs.use(
    entry.uid,
    namespace,
    entry.source === "api" && !entry.cleaned ? objectRefs(entry.pod) : none,
  );
}

function pullImage(
  context: AgentContext,
  entry: PodEntry,
  { spec }: PodAction & { readonly do: "pull-image" },
): void {
  const { name, image = "", imagePullPolicy } = spec.container;
  const before = entry.images.get(name);
  if (before?.state === "pulling") return;
  const { pod } = entry;
  entry.images.set(name, { state: "pulling" });
  const run = async (): Promise<void> => {
    try {
      const result = await context.puller.ensure(
        {
          owner: `${entry.uid}/${image}`,
          image,
          policy: imagePullPolicy,
          // A class that is not there is the sandbox's failure to tell.
          runtimeHandler: await runtimeHandler(context.reader, pod, context.signal).catch(() => ""),
          podCredentials: async (signal) => secretCredentials(image, await pullSecrets(context, pod, signal)),
          // Where nobody can tell, other credentials have to be shown.
          account: async (signal) => {
            const found = await podAccount(context, pod, entry.source)
              ?.read(signal)
              .catch(() => undefined);
            return found && accountMark(found.metadata);
          },
          nodeCredentials: async (signal) => [
            ...(await context.plugins.credentials(image, podAccount(context, pod, entry.source), signal)),
            ...(await nodeCredentials(image, context.config.rootDir)),
          ],
          tell: (type, reason, message) => podEvent(context, pod, type, reason, message, fieldPathOf(spec)),
          began: () => context.journals.of(entry.uid).begin("image pull", name, true),
        },
        context.signal,
      );
      entry.images.set(name, result);
      if (result.state === "failed" && isPullFailure(result.reason)) {
        // Shown as it failed first, then as what it is: a wait.
        context.clock.after(1_000, () => {
          if (entry.images.get(name) !== result) return;
          entry.images.set(name, backingOffPull(image, result));
          podEvent(context, pod, "Normal", "BackOff", `Back-off pulling image "${image}"`, fieldPathOf(spec));
          podEvent(context, pod, "Warning", "Failed", "Error: ImagePullBackOff", fieldPathOf(spec));
          context.markDirty(entry.uid);
        });
      }
    } catch {
      entry.images.delete(name); // the agent ends
    } finally {
      if (!context.signal.aborted) context.markDirty(entry.uid);
    }
  };
  void run();
}

function sayBackOff(context: AgentContext, entry: PodEntry, plan: PodPlan): void {
  const { pod } = entry;
  for (const spec of containersOf(pod)) {
    const { name } = spec.container;
    const waitMs = plan.backingOff.get(name);
    const key = `back-off ${name}`;
    if (waitMs === undefined) {
      entry.said.delete(key);
      continue;
    }
    if (!entry.saysNew(key, String(waitMs))) continue;
    podEvent(
      context,
      pod,
      "Warning",
      "BackOff",
      `Back-off restarting failed container ${name} in pod ${pod.metadata?.name}_${pod.metadata?.namespace}(${entry.uid})`,
      fieldPathOf(spec),
    );
  }
}

/** A Pod that has to wait for the Pod network is told so, once. */
function sayNetwork(context: AgentContext, entry: PodEntry): void {
  const waits =
    !context.node.networkReady() &&
    entry.pod.spec?.hostNetwork !== true &&
    entry.runtime.sandboxes.length === 0 &&
    !mustStop(entry.withStatus(), memoryOf(context, entry));
  if (!waits) entry.said.delete("network");
  else if (entry.saysNew("network", "waits")) {
    const message = "network is not ready: container runtime network not ready: NetworkReady=false";
    podEvent(context, entry.pod, "Warning", "NetworkNotReady", message);
  }
}

async function readLastWords(context: AgentContext, entry: PodEntry): Promise<void> {
  for (const container of entry.runtime.containers) {
    if (container.state !== "exited" || entry.terminationMessages.has(container.id)) continue;
    if (await isReplaced(context.config.rootDir, container)) entry.replaced.add(container.id);
    const said = await terminationMessage(context.config.rootDir, container);
    entry.terminationMessages.set(container.id, said === "" ? container.message : said);
  }
}

function trackProbes(context: AgentContext, entry: PodEntry): void {
  const ending = mustStop(entry.withStatus(), memoryOf(context, entry));
  const sandbox = newestSandbox(entry.runtime);
  const podIp = (entry.pod.spec?.hostNetwork === true ? context.node.hostIps()[0] : sandbox?.ips[0]) ?? "";
  const statuses = [
    ...(entry.status?.initContainerStatuses ?? []),
    ...(entry.status?.containerStatuses ?? []),
  ];
  context.prober.track(
    entry.uid,
    containersOf(entry.pod)
      .filter(
        ({ kind, container }) => (kind === "app" || kind === "sidecar") && probesOf(container).length > 0,
      )
      .flatMap(({ container }) => {
        const running = entry.runtime.containers.find(
          ({ name, state, sandboxId }) =>
            name === container.name && state === "running" && sandboxId === sandbox?.id,
        );
        if (running === undefined || entry.postStart.get(running.id) === "running") return [];
        const known = statuses.find(({ containerID }) => containerID?.endsWith(`//${running.id}`));
        return [
          {
            podUid: entry.uid,
            containerId: running.id,
            container,
            podIp,
            startedAtMs: running.startedAtMs,
            known: known === undefined ? undefined : { ready: known.ready, started: known.started === true },
            ending,
          },
        ];
      }),
  );
}

function report(context: AgentContext, entry: PodEntry, ports: SyncPorts): void {
  if (entry.source === "orphan") return;
  entry.status = podStatus(entry.withStatus(), {
    runtime: entry.runtime,
    memory: memoryOf(context, entry),
    runtimeName: context.runtime.name,
    terminationMessages: entry.terminationMessages,
    nowMs: context.clock.now(),
    hostIps: context.node.hostIps(),
    firstSeenMs: entry.firstSeenMs,
  });
  ports.report(entry);
}

/** Removes the record of a container that is to run anew, and keeps what the next run goes on from. */
async function removeRun(
  context: AgentContext,
  entry: PodEntry,
  container: ContainerStatus,
  signal: AbortSignal,
): Promise<void> {
  const known = entry.removedRuns.get(container.name);
  if (known === undefined || known.attempt < container.attempt)
    entry.removedRuns.set(container.name, container);
  await removeContainer(context, entry.pod, container, signal);
  entry.forgetRun(container.id);
}

async function removeDead(context: AgentContext, entry: PodEntry, signal: AbortSignal): Promise<void> {
  const dead = deadOf(entry.runtime, context.config.maxDeadContainers);
  for (const id of dead.containers) {
    const name = entry.runtime.containers.find((one) => one.id === id)?.name ?? "";
    await removeContainer(context, entry.pod, { id, name }, signal);
    entry.forgetRun(id);
  }
  for (const id of dead.sandboxes) await context.runtime.removeSandbox(id, signal);
}

/** Takes down what a Pod that has ended does not need; when its source has let it go, everything. */
async function cleanUp(
  context: AgentContext,
  entry: PodEntry,
  ports: SyncPorts,
  signal: AbortSignal,
): Promise<void> {
  const { runtime } = context;
  const during = (what: StepName, work: () => Promise<void>): Promise<void> =>
    context.journals.during(entry.uid, what, undefined, work);
  if (!entry.cleaned) {
    context.prober.track(entry.uid, []);
    await during("take down volumes", () => context.volumes.tearDown(entry.uid, signal));
    await during("remove cgroup", () => removePodCgroup(context, entry.pod));
    entry.cleaned = true;
    entry.volumes = { state: "waiting", message: "" };
    context.tokens.forget(entry.uid);
    ports.roomFreed();
  }
  if (!entry.gone) return;
  for (const container of entry.runtime.containers)
    await removeContainer(context, entry.pod, container, signal);
  await during("remove directory", () => context.volumes.remove(entry.uid, signal));
  context.userNamespaces.release(entry.uid);
  await rm(logDirectoryOf(context, entry), { recursive: true, force: true });
  // Last: an agent that dies before this is followed by one that finds the Pod by it, and all that is left.
  for (const { id } of entry.runtime.sandboxes) await runtime.removeSandbox(id, signal);
  context.puller.forget(`${entry.uid}/`);
  context.refs.use(entry.uid, "", { configMaps: new Set(), secrets: new Set() });
  ports.forget(entry);
}
