import type { ContainerStatus } from "../../runtime/runtime.ts";
import { containersOf } from "../containers-of.ts";
import { podGraceSeconds } from "../grace-period.ts";
import type { ExplainInput, Wait } from "./pod-explanation.ts";
import type { PodStep, StepName } from "./pod-step.ts";

/** Steps of the clean-up, with what holds them when they take long. */
const cleanUp: Partial<Record<StepName, string>> = {
  "stop sandbox": "the runtime stops the sandbox and takes its network down",
  "take down volumes": "the volumes are being unmounted",
  "remove cgroup": "the Pod's cgroup is being removed",
  "remove directory": "the Pod's directory is being removed",
  "remove container": "the runtime removes a container",
  "remove sandbox": "the runtime removes the sandbox",
};

/** What holds a Pod that is on its way out: the step it is at, and what that waits for. */
export function endWaits(input: ExplainInput): readonly Wait[] {
  const alive = input.runtime.containers.filter(({ state }) => state === "running" || state === "unknown");
  if (alive.length > 0) return alive.flatMap((container) => stopWaits(container, alive, input));
  const going = input.open.filter(({ what }) => cleanUp[what] !== undefined);
  if (going.length > 0)
    return going.map(({ what, startMs }) => ({ on: what, detail: cleanUp[what] ?? "", sinceMs: startMs }));
  if (!input.isCleaned || input.isGone) return failedCleanUp(input);
  return apiWaits(input);
}

function stopWaits(
  container: ContainerStatus,
  alive: readonly ContainerStatus[],
  { memory, nowMs, open, pod }: ExplainInput,
): readonly Wait[] {
  const { name } = container;
  const going = memory.kills.get(container.id);
  const graceSeconds = podGraceSeconds(pod);
  if (going === undefined) {
    const kinds = new Map(containersOf(pod).map((spec) => [spec.container.name, spec.kind]));
    const others = alive.filter((one) => one.id !== container.id).map((one) => `"${one.name}"`);
    if (kinds.get(name) === "sidecar" && others.length > 0) {
      const detail = `a sidecar: it is stopped after ${others.join(", ")}`;
      return [{ on: "its turn to stop", container: name, detail }];
    }
    return [{ on: "the stop", container: name, detail: "it is about to be stopped" }];
  }
  const hook = openFor(open, "preStop hook", name);
  if (hook !== undefined) {
    const detail = `it runs before the container is told to end, and counts in the ${graceSeconds}s of grace`;
    return [
      {
        on: "the preStop hook",
        container: name,
        detail,
        sinceMs: hook.startMs,
        untilMs: going.deadlineMs,
      },
    ];
  }
  const call = openFor(open, "stop container", name);
  const since = call === undefined ? {} : { sinceMs: call.startMs };
  if (going.deadlineMs > nowMs) {
    const detail = `its process has been told to end and may take until the grace period of ${graceSeconds}s is over, then it is killed`;
    return [
      {
        on: "the grace period",
        container: name,
        detail,
        ...since,
        untilMs: going.deadlineMs,
      },
    ];
  }
  const detail = `the grace period is over and the runtime has not ended the container: its call "stop container" hangs, or the process cannot be killed (look for state D in ps)`;
  return [{ on: "the runtime", container: name, detail, ...since }];
}

function openFor(open: readonly PodStep[], what: StepName, container: string): PodStep | undefined {
  return open.find((step) => step.what === what && step.container === container);
}

/** Nothing runs, and yet it is not cleaned up: the last try failed, or the next one is near. */
function failedCleanUp({ errors, memory }: ExplainInput): readonly Wait[] {
  const last = errors.find(({ reason }) => reason === "FailedSync" || reason === "FailedKillPod");
  const since = memory.terminatingSinceMs;
  const isOfEnd = last !== undefined && last.lastMs >= (since ?? 0);
  if (!isOfEnd) return [{ on: "clean-up", detail: "what is left of the Pod is about to be taken down" }];
  return [
    {
      on: "clean-up",
      detail: `the last try failed and it is tried again: ${last.message}`,
      sinceMs: last.firstMs,
    },
  ];
}

/** Nothing of it is left on the node: the API decides. */
function apiWaits({ pod, source, unwritten }: ExplainInput): readonly Wait[] {
  const deleted = pod.metadata?.deletionTimestamp;
  if (source !== "api" || deleted === undefined) return [];
  if (unwritten !== undefined) return []; // told for every Pod
  const finalizers = pod.metadata?.finalizers ?? [];
  if (finalizers.length > 0) {
    const detail = `${finalizers.join(", ")}: nothing of the Pod is left on this node; whoever set ${finalizers.length === 1 ? "it" : "them"} has to remove ${finalizers.length === 1 ? "it" : "them"} from metadata.finalizers`;
    return [{ on: "finalizers in the API", detail, sinceMs: Date.parse(deleted) }];
  }
  return [
    {
      on: "the API",
      detail: "nothing of the Pod is left on this node, and the API has been told to delete it",
    },
  ];
}
