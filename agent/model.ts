import type { Pod } from "#api/generated/kubernetes.ts";
import type { Resources } from "./plan/allocation.ts";
import type { ContainerStatus, SandboxStatus } from "./runtime/runtime.ts";
import type { VolumeReading } from "./volumes/volume-readings.ts";

/**
 * What the agent knows and hands out to its server (port 10250) and to `status`.
 * Everything is a snapshot: cheap to ask for, never to be changed.
 */
export interface AgentView {
  /** Every Pod this node should run, with its newest status: `/pods`. */
  pods(): readonly Pod[];
  podByName(namespace: string, name: string): AgentPod | undefined;
  podByUid(uid: string): AgentPod | undefined;
  /** The Node object's name. */
  readonly nodeName: string;
  /** Whether the sync loop moves; `why` names what is stuck. */
  healthy(): { readonly ok: true } | { readonly ok: false; readonly why: string };
  /** Resident facts for `/configz`. */
  configuration(): Readonly<Record<string, unknown>>;
}

/** One Pod and what runs of it. */
export interface AgentPod {
  /** The spec as the source gave it, the status as it was last computed. */
  readonly pod: Pod;
  readonly uid: string;
  /** The running sandbox; undefined when there is none. */
  readonly sandboxId: string | undefined;
  /** Addresses of the running sandbox; the node's on the host network. */
  readonly ips: readonly string[];
  /** `<pod logs dir>/<namespace>_<name>_<uid>` */
  readonly logDirectory: string;
  /** The cgroup below the root, `/kubepods/burstable/pod<uid>`; "" when there is none. */
  readonly cgroup: string;
  /** Newest container of each name in the Pod's spec that has run at all. */
  readonly containers: ReadonlyMap<string, AgentContainer>;
  /** What was last read of its volumes. */
  readonly volumes: readonly VolumeReading[];
}

/** One container of a Pod by name. */
export interface AgentContainer {
  readonly name: string;
  readonly kind: ContainerKind;
  readonly id: string;
  readonly state: ContainerStatus["state"];
  readonly attempt: number;
  /** Absolute path of the log that is being written. */
  readonly logPath: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  /** The run before this one, for `logs --previous`. */
  readonly previous: { readonly id: string; readonly logPath: string } | undefined;
}

/** `init` waits its turn and ends; `sidecar` is an init container that stays; `ephemeral` is for debugging. */
export type ContainerKind = "init" | "sidecar" | "app" | "ephemeral";

/** What the runtime has of one Pod now. */
export interface PodRuntime {
  readonly sandboxes: readonly SandboxStatus[];
  readonly containers: readonly ContainerStatus[];
}

/** What is known about the image of one container of a Pod. */
export type ImageState =
  | { readonly state: "absent" }
  | { readonly state: "pulling" }
  | {
      readonly state: "present";
      readonly ref: string;
      readonly user: { readonly uid?: number; readonly name?: string };
    }
  /** `retryAtMs` is wall time; the image is asked for again then. */
  | {
      readonly state: "failed";
      readonly reason: string;
      readonly message: string;
      readonly retryAtMs: number;
      /** When a pull failed; undefined where nothing was pulled. */
      readonly failedAtMs?: number;
    };

/** What probes say of one container, by its id. A probe that is not configured counts as passed. */
export interface ProbeState {
  readonly startup: "unknown" | "success" | "failure";
  readonly liveness: "success" | "failure";
  readonly readiness: "success" | "failure";
  /** The last failure's text. */
  readonly message: string;
}

/** A container that is being stopped. */
export interface KillState {
  readonly reason: string;
  /** Wall time at which the runtime kills what is left. */
  readonly deadlineMs: number;
}

/** How starting a container failed; it is tried again at `retryAtMs` (wall time). */
export interface StartFailure {
  readonly reason:
    | "CreateContainerConfigError"
    | "CreateContainerError"
    | "RunContainerError"
    | "PostStartHookError";
  readonly message: string;
  readonly retryAtMs: number;
}

/** Why a Pod will not run any more although its containers might. */
export interface PodVerdict {
  readonly phase: "Failed" | "Succeeded";
  readonly reason: string;
  readonly message: string;
  /** In place of the Pod's own grace period. */
  readonly graceSeconds?: number;
}

/**
 * What the agent remembers of a Pod besides what the runtime and the API tell. All of it may be lost:
 * after a restart each part is found again or assumed harmlessly.
 */
export interface PodMemory {
  /** By container name. */
  readonly images: ReadonlyMap<string, ImageState>;
  /** By container name. */
  readonly startFailures: ReadonlyMap<string, StartFailure>;
  /** By container id. */
  readonly probes: ReadonlyMap<string, ProbeState>;
  /** By container id: postStart hooks of this agent's life. */
  readonly postStart: ReadonlyMap<string, "running" | "done" | "failed">;
  /**
   * The last run of containers whose records were removed so that all of the Pod's run anew, by container name:
   * the count of restarts and the back-off go on from it.
   */
  readonly removedRuns: ReadonlyMap<string, ContainerStatus>;
  /** By container id: ends whose crash back-off a user has cut short. */
  readonly cutShort: ReadonlySet<string>;
  /** By container id: what running containers were changed to by a resize. */
  readonly actuated: ReadonlyMap<string, Resources>;
  /** Ids of containers that the agent ended so that they run anew, whatever they answered. */
  readonly replaced: ReadonlySet<string>;
  readonly resize: ResizeState;
  /** By container id. */
  readonly kills: ReadonlyMap<string, KillState>;
  readonly volumes: VolumesState;
  readonly sandboxFailure: { readonly message: string; readonly retryAtMs: number } | undefined;
  readonly verdict: PodVerdict | undefined;
  /** Wall time at which the end of the Pod was first seen; undefined while it should run. */
  readonly terminatingSinceMs: number | undefined;
  readonly networkReady: boolean;
  /** The longest crash back-off on this node, in milliseconds. */
  readonly maxRestartWaitMs: number;
}

/** How far a resize of a Pod is (KEP-1287). */
export interface ResizeState {
  /** Why the Pod does not get what its spec asks for; undefined when it was granted. */
  readonly pending: { readonly reason: "Deferred" | "Infeasible"; readonly message: string } | undefined;
  /** What was granted is not in effect yet; `error` says what went wrong last. */
  readonly progress: { readonly error: string | undefined } | undefined;
  /** What the Pod as a whole has now, where it was granted something else already (KEP-5419). */
  readonly inEffect: Resources | undefined;
}

/** Whether the Pod's volumes are all there. */
export type VolumesState =
  | { readonly state: "waiting"; readonly message: string }
  | { readonly state: "ready" };
