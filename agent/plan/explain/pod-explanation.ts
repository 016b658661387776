import type { Pod } from "#api/generated/kubernetes.ts";
import type { ContainerKind, PodMemory, PodRuntime } from "../../model.ts";
import type { PodPlan } from "../pod-actions.ts";
import type { ProbeKind, ProbeTally } from "../probe-verdict.ts";
import type { PodError, PodStep } from "./pod-step.ts";

/** One thing that has to come to pass before the Pod gets on. Wall times in milliseconds. */
export interface Wait {
  /** `volumes`, `image`, `crash back-off`, `readiness probe`, `finalizers`. */
  readonly on: string;
  readonly container?: string;
  readonly detail: string;
  readonly sinceMs?: number;
  /** When it ends by itself. */
  readonly untilMs?: number;
}

/** One probe of a container as it stands. */
export interface ProbeStory {
  readonly kind: ProbeKind;
  readonly verdict: ProbeTally["verdict"];
  /** The last answer and how many equal ones came in a row. */
  readonly last: ProbeTally["last"];
  readonly streak: number;
  readonly failureThreshold: number;
  readonly successThreshold: number;
  readonly lastMs: number | undefined;
  readonly message: string;
}

/** One container of the Pod as it stands. */
export interface ContainerStory {
  readonly name: string;
  readonly kind: ContainerKind;
  readonly image: string;
  readonly state: "waiting" | "running" | "ended" | "unknown";
  /** Why it waits or how it ended, in the status's words; "" for one that runs. */
  readonly reason: string;
  /** Since when it is in this state; undefined when it never ran. */
  readonly sinceMs?: number;
  readonly restarts: number;
  readonly probes: readonly ProbeStory[];
  /** How the run before this one ended. */
  readonly before?: {
    readonly exitCode: number;
    readonly reason: string;
    readonly startMs: number;
    readonly endMs: number;
  };
}

/** What is known about one Pod, from live state: what is asked of it, what it waits for, what went wrong. */
export interface PodExplanation {
  readonly nowMs: number;
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly source: "the API" | "a static Pod" | "nobody";
  readonly phase: string;
  readonly ready: boolean;
  readonly readySinceMs?: number;
  /** What the Pod is to come to. */
  readonly goal: string;
  /** The next actions of the plan; empty when there is nothing to do but to wait. */
  readonly next: readonly string[];
  readonly waits: readonly Wait[];
  readonly sandbox: {
    readonly state: "ready" | "not-ready" | "absent";
    readonly ips: readonly string[];
    readonly sinceMs?: number;
  };
  readonly containers: readonly ContainerStory[];
  /** Newest first. */
  readonly errors: readonly PodError[];
  /** The steps of the Pod's start, in the order they began; the first is the moment the Pod was seen. */
  readonly timeline: readonly PodStep[];
}

/** How far the pull of an image is. */
export interface PullStory {
  /** undefined while it waits for its turn. */
  readonly sinceMs: number | undefined;
  readonly progress: { readonly currentBytes: number; readonly totalBytes: number } | undefined;
}

/** What an explanation is made from. */
export interface ExplainInput {
  readonly nowMs: number;
  readonly node: string;
  readonly source: "api" | "file" | "orphan";
  /** With its status as last computed. */
  readonly pod: Pod;
  readonly firstSeenMs: number;
  readonly runtime: PodRuntime;
  readonly memory: PodMemory;
  readonly plan: PodPlan;
  readonly isAdmitted: boolean;
  /** Its source does not have it any more. */
  readonly isGone: boolean;
  /** Its volumes and cgroup have been taken down. */
  readonly isCleaned: boolean;
  readonly open: readonly PodStep[];
  readonly steps: readonly PodStep[];
  readonly errors: readonly PodError[];
  /** By container id. */
  readonly probes: ReadonlyMap<string, readonly ProbeStory[]>;
  /** By image. */
  readonly pulls: ReadonlyMap<string, PullStory>;
  /** The API has not taken the Pod's status. */
  readonly unwritten: { readonly sinceMs: number; readonly message: string } | undefined;
  /** Why the runtime cannot be used; undefined while it can. */
  readonly runtimeTrouble: string | undefined;
  /** Why the API cannot be reached; undefined while it can. */
  readonly apiTrouble: string | undefined;
}
