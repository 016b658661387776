import type { ContainerStatus, Pod, PodCondition } from "#api/generated/kubernetes.ts";
import type { ResizeState } from "../model.ts";
import { containersOf } from "./containers-of.ts";
import type { Phase } from "./pod-phase.ts";
import { mayRestartAll } from "./restart-policy.ts";

/** What the conditions follow from. */
export interface ConditionInput {
  readonly phase: Phase;
  readonly statuses: readonly ContainerStatus[];
  /** Every init container has ended well or, a sidecar, has started. */
  readonly initialized: boolean;
  /** The sandbox runs and has its network. */
  readonly sandboxReady: boolean;
  /** The end of one container makes all of them run anew. */
  readonly restartingAll: boolean;
  readonly resize: ResizeState;
  /** Why this node ends the Pod though it could run on; undefined when it does not. */
  readonly disruption: string | undefined;
}

type Draft = Omit<PodCondition, "lastTransitionTime">;

/** Types of conditions that the agent owns; every other one belongs to somebody else. */
export const ownedConditions: readonly string[] = [
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
  "AllContainersRestarting",
  "PodResizePending",
  "PodResizeInProgress",
];

/** The agent's conditions, in the order tools print them, without times. */
export function podConditions(pod: Pod, input: ConditionInput): readonly Draft[] {
  const generation = pod.metadata?.generation;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const containersReady = containersReadyCondition(pod, input);
  return [
    { type: "PodReadyToStartContainers", status: input.sandboxReady ? "True" : "False" },
    initializedCondition(pod, input),
    readyCondition(pod, input, containersReady),
    containersReady,
    { type: "PodScheduled", status: "True" },
    ...(mayRestartAll(pod) ? [restartingCondition(input)] : []),
    ...resizeConditions(input),
    ...(input.disruption === undefined ? [] : [disruptionTarget(input.disruption)]),
  ].map((condition) => ({ ...condition, ...observed }));
}

/** Others set this condition too: it is not in {@link ownedConditions}, and theirs stays while we say nothing. */
function disruptionTarget(message: string): Draft {
  return { type: "DisruptionTarget", status: "True", reason: "TerminationByKubelet", message };
}

function restartingCondition({ phase, restartingAll }: ConditionInput): Draft {
  const type = "AllContainersRestarting";
  if (phase === "Succeeded") return { type, status: "False", reason: "PodCompleted" };
  if (phase === "Failed") return { type, status: "False", reason: "PodFailed" };
  if (!restartingAll) return { type, status: "False" };
  return {
    type,
    status: "True",
    reason: "RestartAllContainersStarted",
    message: "container exited with restart policy rule",
  };
}

/** They are there only while they are true (KEP-1287). */
function resizeConditions({ phase, resize: { pending, progress } }: ConditionInput): readonly Draft[] {
  if (phase === "Succeeded" || phase === "Failed") return [];
  return [
    ...(pending === undefined ? [] : [{ type: "PodResizePending", status: "True", ...pending }]),
    ...(progress === undefined
      ? []
      : [
          {
            type: "PodResizeInProgress",
            status: "True",
            ...(progress.error === undefined ? {} : { reason: "Error", message: progress.error }),
          },
        ]),
  ];
}

function initializedCondition(pod: Pod, { phase, statuses, initialized }: ConditionInput): Draft {
  if (phase === "Succeeded") return { type: "Initialized", status: "True", reason: "PodCompleted" };
  if (initialized) return { type: "Initialized", status: "True" };
  const waiting = containersOf(pod)
    .filter(({ kind }) => kind === "init" || kind === "sidecar")
    .map(({ container }) => container.name)
    .filter((name) => {
      const status = statuses.find((one) => one.name === name);
      return status?.ready !== true && status?.started !== true;
    });
  return {
    type: "Initialized",
    status: "False",
    reason: "ContainersNotInitialized",
    message: `containers with incomplete status: [${waiting.join(" ")}]`,
  };
}

function containersReadyCondition(pod: Pod, { phase, statuses }: ConditionInput): Draft {
  if (phase === "Succeeded") return { type: "ContainersReady", status: "False", reason: "PodCompleted" };
  if (phase === "Failed") return { type: "ContainersReady", status: "False", reason: "PodFailed" };
  const needed = containersOf(pod)
    .filter(({ kind }) => kind === "app" || kind === "sidecar")
    .map(({ container }) => container.name);
  const unready = needed.filter((name) => statuses.find((one) => one.name === name)?.ready !== true);
  if (unready.length === 0) return { type: "ContainersReady", status: "True" };
  return {
    type: "ContainersReady",
    status: "False",
    reason: "ContainersNotReady",
    message: `containers with unready status: [${unready.join(" ")}]`,
  };
}

function readyCondition(pod: Pod, { phase }: ConditionInput, containersReady: Draft): Draft {
  if (phase === "Succeeded" || phase === "Failed" || containersReady.status !== "True") {
    return { ...containersReady, type: "Ready" };
  }
  const missing = (pod.spec?.readinessGates ?? []).flatMap(({ conditionType }) => {
    const gate = pod.status?.conditions?.find(({ type }) => type === conditionType);
    if (gate === undefined)
      return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    return gate.status === "True"
      ? []
      : [`the status of pod readiness gate "${conditionType}" is not "True", but ${gate.status}`];
  });
  if (missing.length === 0) return { type: "Ready", status: "True" };
  return { type: "Ready", status: "False", reason: "ReadinessGatesNotReady", message: missing.join(", ") };
}
