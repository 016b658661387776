import type { Container } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { readWorkingSet } from "#linux/cgroup.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import { plain, type Resources } from "../plan/allocation.ts";
import { containerRecords } from "../plan/container-records.ts";
import { containerResources, podCgroup, podCgroupLimits } from "../plan/container-resources.ts";
import { containersOf } from "../plan/containers-of.ts";
import { limitsOf } from "../plan/qos.ts";
import {
  actuatedResources,
  limitsMeanwhile,
  type PodLimits,
  resizeNeed,
  shrinksFirst,
} from "../plan/resize.ts";
import { resizeWords } from "../plan/resize-words.ts";
import type { PodEntry } from "../pod-entry.ts";
import { containerCgroups } from "../resources/container-cgroup.ts";
import { readPodLimits, writePodLimits } from "../resources/pod-cgroups.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";

/** The wait after a step of a resize that failed. */
const retryMs = 10_000;

interface Change {
  readonly container: ContainerStatus;
  readonly spec: Container;
  readonly before: Resources;
  readonly after: Resources;
}

/**
 * Brings what was granted into effect (KEP-1287): the Pod's cgroup is widened, containers that get less are changed,
 * then those that get more, and the Pod's cgroup gets its final limits. A container that has to be made anew for it is
 * ended by the plan; this goes on when it is back. A limit of memory is not put below what is used.
 */
export async function resizePod(
  context: AgentContext,
  entry: PodEntry,
  wakeAt: (uid: string, atMs: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { allocation } = entry;
  if (allocation === undefined || entry.settled === allocation) return;
  const now = context.clock.now();
  if (entry.resizeProgress?.error !== undefined && entry.resizeProgress.retryAtMs > now) {
    wakeAt(entry.uid, entry.resizeProgress.retryAtMs);
    return;
  }
  const running = runningContainers(entry);
  const memory = { actuated: entry.actuated };
  const needs = running.map((one) => resizeNeed(one.spec, actuatedResources(memory, one.container)));
  const updates = running.flatMap(({ container, spec }, place): Change[] => {
    if (needs[place] !== "update") return [];
    const before = actuatedResources(memory, container) ?? {};
    return [{ container, spec, before, after: plain(spec.resources) }];
  });
  const current = await readPodLimits(context, entry.pod);
  const desired = podCgroupLimits(entry.pod);
  if (needs.every((need) => need === "none") && (current === undefined || same(current, desired))) {
    settle(context, entry, allocation);
    return;
  }
  // An earlier agent granted it and did not come this far.
  if (needs.some((need) => need !== "none")) beginResize(context, entry);
  try {
    if (current !== undefined) {
      const meanwhile = limitsMeanwhile(current, desired);
      if (!same(current, meanwhile)) await writePodLimits(context, entry.pod, meanwhile);
    }
    for (const change of shrinksFirst(updates)) await update(context, entry, change, signal);
    if (needs.includes("restart")) return; // the end of that container, and its start, bring us here again
    if (current !== undefined) {
      await refuseBelowUse(context, entry, desired.memoryBytes, current.memoryBytes, undefined);
      await writePodLimits(context, entry.pod, desired);
    }
    settle(context, entry, allocation);
  } catch (cause) {
    signal.throwIfAborted();
    const error = errorText(cause);
    if (entry.resizeProgress?.error !== error) {
      const words = resizeWords(entry.pod, error);
      podEvent(context, entry.pod, "Warning", "ResizeError", `Pod resize error: ${words}`);
    }
    entry.resizeProgress = { error, retryAtMs: context.clock.now() + retryMs };
    wakeAt(entry.uid, entry.resizeProgress.retryAtMs);
  }
}

/** From now on the Pod's status says that what was granted is on its way. */
export function beginResize(context: AgentContext, entry: PodEntry): void {
  if (entry.resizeProgress === undefined)
    podEvent(context, entry.pod, "Normal", "ResizeStarted", `Pod resize started: ${resizeWords(entry.pod)}`);
  entry.resizeProgress ??= { error: undefined, retryAtMs: 0 };
}

async function update(
  context: AgentContext,
  entry: PodEntry,
  { container, spec, before, after }: Change,
  signal: AbortSignal,
): Promise<void> {
  await refuseBelowUse(context, entry, limitsOf(after).memoryBytes, limitsOf(before).memoryBytes, container);
  // The order of the OOM killer is fixed when a process starts.
  const { oomScoreAdj: _order, ...resources } = containerResources(
    entry.pod,
    spec,
    context.node.memoryBytes,
    context.node.minOomScoreAdj,
  );
  await context.runtime.updateResources(container.id, resources, signal);
  entry.actuated.set(container.id, after);
}

/**
 * A limit below what is used would make the kernel end the processes (v2) or be refused by it (v1).
 * @param container undefined for the Pod as a whole.
 * @throws Error in the kubelet's words.
 */
async function refuseBelowUse(
  context: AgentContext,
  entry: PodEntry,
  limit: number | undefined,
  before: number | undefined,
  container: ContainerStatus | undefined,
): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (cgroups === undefined || limit === undefined || (before !== undefined && limit >= before)) return;
  const pod = podCgroup(entry.pod, cgroupDriver, config.cgroupRoot);
  for (const group of container === undefined ? [pod] : containerCgroups(pod, container.id)) {
    const used = await readWorkingSet(cgroups, group);
    if (used === undefined || used <= limit) continue;
    throw new Error(
      container === undefined
        ? `attempting to set pod memory limit (${limit}) below current usage (${used})`
        : `attempting to set container ${JSON.stringify(container.name)} memory limit (${limit}) below current usage (${used})`,
    );
  }
}

function settle(
  context: AgentContext,
  entry: PodEntry,
  allocation: NonNullable<PodEntry["allocation"]>,
): void {
  entry.settled = allocation;
  if (entry.resizeProgress === undefined) return;
  entry.resizeProgress = undefined;
  podEvent(
    context,
    entry.pod,
    "Normal",
    "ResizeCompleted",
    `Pod resize completed: ${resizeWords(entry.pod)}`,
  );
}

function runningContainers(
  entry: PodEntry,
): readonly { readonly container: ContainerStatus; readonly spec: Container }[] {
  const records = containerRecords(entry.runtime.containers);
  return containersOf(entry.pod).flatMap(({ kind, container: spec }) => {
    const newest = records.get(spec.name)?.newest;
    return (kind === "app" || kind === "sidecar") && newest?.state === "running"
      ? [{ container: newest, spec }]
      : [];
  });
}

function same(a: PodLimits, b: PodLimits): boolean {
  return a.cpuShares === b.cpuShares && a.cpuQuota === b.cpuQuota && a.memoryBytes === b.memoryBytes;
}
