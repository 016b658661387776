import type { Pod, PodStatus } from "#api/generated/kubernetes.ts";
import type {
  ImageState,
  KillState,
  PodMemory,
  PodRuntime,
  PodVerdict,
  ProbeState,
  ResizeState,
  StartFailure,
  VolumesState,
} from "./model.ts";
import { type Allocation, allocatedPod, type Resources } from "./plan/allocation.ts";
import { isImageOf } from "./plan/image-volumes.ts";
import { ownedConditions } from "./plan/pod-conditions.ts";
import type { ContainerStatus } from "./runtime/runtime.ts";

/** Where a Pod came from. */
export type PodSource = "api" | "file" | "orphan";

/** What the agent keeps of one Pod. Everything in it can be found again: see {@link PodMemory}. */
export class PodEntry {
  readonly uid: string;
  readonly source: PodSource;
  readonly firstSeenMs: number;
  /** The newest from the source. */
  wanted: Pod;
  /** The same with the CPU and memory that the node has granted: what everything but a resize goes by. */
  pod: Pod;
  /** What that is; undefined until the first look at the Pod. */
  allocation: Allocation | undefined;
  /** The one that all of the Pod has in effect. */
  settled: Allocation | undefined;
  pendingResize: ResizeState["pending"];
  resizeProgress: (ResizeState["progress"] & { readonly retryAtMs: number }) | undefined;
  /** The wait before a deferred resize is asked about again. */
  resizeWaitMs: number = 0;
  /** Its source does not have it any more. */
  gone: boolean = false;
  admitted: boolean = false;
  /** Its sandbox, volumes and cgroup have been taken down. */
  cleaned: boolean = false;
  terminatingSinceMs: number | undefined;
  verdict: PodVerdict | undefined;
  sandboxFailure: PodMemory["sandboxFailure"];
  volumes: VolumesState = { state: "waiting", message: "" };
  /** Since when the volumes are waited for, or since the last word about it. */
  volumesSinceMs: number | undefined;
  /** Ends the step of the Pod's start that its volumes are. */
  volumesBegun: (() => void) | undefined;
  /** Wall time at which a projected token is to be renewed. */
  volumesRefreshAtMs: number | undefined;
  runtime: PodRuntime = { sandboxes: [], containers: [] };
  /** As last computed; before that, what the API had. */
  status: PodStatus | undefined;
  /** As the API last confirmed. */
  reported: PodStatus | undefined;
  /** Revision of that; the watch may still tell older ones. */
  reportedVersion: bigint = 0n;
  readonly images: Map<string, ImageState> = new Map();
  readonly startFailures: Map<string, StartFailure> = new Map();
  readonly postStart: Map<string, "running" | "done" | "failed"> = new Map();
  readonly removedRuns: Map<string, ContainerStatus> = new Map();
  readonly actuated: Map<string, Resources> = new Map();
  readonly replaced: Set<string> = new Set();
  readonly kills: Map<string, KillState & { readonly stop: AbortController }> = new Map();
  readonly cutShort: Set<string> = new Set();
  readonly terminationMessages: Map<string, string> = new Map();
  /** Messages that were said and are not repeated while they stay true. */
  readonly said: Map<string, string> = new Map();
  /** Ends what goes on in the background for this Pod. */
  readonly stop: AbortController = new AbortController();

  constructor(pod: Pod, source: PodSource, nowMs: number) {
    this.uid = pod.metadata?.uid ?? "";
    this.wanted = pod;
    this.pod = pod;
    this.source = source;
    this.firstSeenMs = nowMs;
    this.status = pod.status;
    this.reported = pod.status;
  }

  /** The source has a newer version. */
  take(pod: Pod): void {
    this.wanted = pod;
    this.pod = this.allocation === undefined ? pod : allocatedPod(pod, this.allocation);
  }

  /** The node grants this much from now on. */
  grant(allocation: Allocation): void {
    this.allocation = allocation;
    this.pod = allocatedPod(this.wanted, allocation);
  }

  /** The Pod with its status as we know it: conditions of others from the API, everything else ours. */
  withStatus(): Pod {
    const own = this.status;
    if (own === undefined) return this.pod;
    const foreign = this.pod.status?.conditions ?? [];
    const ours = own.conditions ?? [];
    const merged = [
      ...ours.filter(
        ({ type }) =>
          ownedConditions.includes(type) ||
          // Others may say it too: ours is kept until the API has it.
          (type === "DisruptionTarget" && !foreign.some((one) => one.type === type)),
      ),
      ...foreign.filter(({ type }) => !ownedConditions.includes(type)),
    ];
    return { ...this.pod, status: { ...own, conditions: merged } };
  }

  /** An object it refers to changed: what failed for want of it is tried at once. */
  forgetConfigErrors(): void {
    for (const [name, { reason }] of this.startFailures) {
      if (reason === "CreateContainerConfigError") this.startFailures.delete(name);
    }
  }

  /** The runtime's record of a container is gone. */
  forgetRun(containerId: string): void {
    this.terminationMessages.delete(containerId);
    this.actuated.delete(containerId);
    this.replaced.delete(containerId);
  }

  /** What a container runs and mounts is asked for anew: it may have been removed, or its policy is Always. */
  forgetImages(container: string): void {
    for (const key of this.images.keys()) if (isImageOf(container, key)) this.images.delete(key);
  }

  /** Whether this was not the last thing said under the key; from now on it is. */
  saysNew(key: string, message: string): boolean {
    if (this.said.get(key) === message) return false;
    this.said.set(key, message);
    return true;
  }

  /** What the plans read. */
  memory(
    probeState: (containerId: string) => ProbeState | undefined,
    node: Pick<PodMemory, "networkReady" | "maxRestartWaitMs">,
  ): PodMemory {
    const probes = new Map<string, ProbeState>();
    for (const { id } of this.runtime.containers) {
      const state = probeState(id);
      if (state !== undefined) probes.set(id, state);
    }
    return {
      images: this.images,
      startFailures: this.startFailures,
      probes,
      postStart: this.postStart,
      removedRuns: this.removedRuns,
      cutShort: this.cutShort,
      actuated: this.actuated,
      replaced: this.replaced,
      resize: { pending: this.pendingResize, progress: this.resizeProgress, inEffect: this.settled?.pod },
      kills: this.kills,
      volumes: this.volumes,
      sandboxFailure: this.sandboxFailure,
      verdict: this.verdict,
      terminatingSinceMs: this.terminatingSinceMs,
      ...node,
    };
  }
}
