import type { ProbeKind } from "../probe-verdict.ts";

/** What is done for a Pod, in the words that a user reads. */
export type StepName =
  | "seen"
  | "found running"
  | "admitted"
  | "volumes"
  | "sandbox"
  | "network up"
  | "image pull"
  | "image present"
  | "create"
  | "start"
  | "postStart hook"
  | `${ProbeKind} probe`
  | "Ready"
  | "first status write"
  | "Ready in the API"
  | "preStop hook"
  | "take down volumes"
  | "remove cgroup"
  | "remove directory"
  | "stop container"
  | "remove container"
  | "stop sandbox"
  | "remove sandbox"
  | "list sandboxes"
  | "list containers"
  | "ask for a container";

/** One step, or one moment when both times are the same. Wall time in milliseconds, from a clock that never goes back. */
export interface PodStep {
  readonly what: StepName;
  /** The name of the container it was for; undefined for the whole Pod. */
  readonly container: string | undefined;
  readonly startMs: number;
  /** undefined while it goes on. */
  readonly endMs: number | undefined;
  /** It ended with an error. */
  readonly failed: boolean;
}

/** Something that went wrong, and how often. */
export interface PodError {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
  /** An event's reason: `FailedMount`. */
  readonly reason: string;
  readonly message: string;
}
