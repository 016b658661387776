import type { ContainerStatus } from "../../runtime/runtime.ts";
import type { ContainerStatus as ApiContainerStatus } from "#api/generated/kubernetes.ts";
import { containerRecords, newestSandbox } from "../container-records.ts";
import { containersOf, type SpecContainer } from "../containers-of.ts";
import { podGraceSeconds } from "../grace-period.ts";
import { mustStop, type PodAction } from "../pod-actions.ts";
import { endWaits } from "./end-waits.ts";
import type { ContainerStory, ExplainInput, PodExplanation, Wait } from "./pod-explanation.ts";
import type { PodStep, StepName } from "./pod-step.ts";
import { runWaits } from "./run-waits.ts";

/** A call that is younger is no news: every call takes a moment. */
const slowMs = 1_000;
/** Steps that say more in words of their own. */
const told: readonly StepName[] = ["volumes", "image pull", "postStart hook", "preStop hook"];

const sources = { api: "the API", file: "a static Pod", orphan: "nobody" } as const;

/** Says what the agent wants of a Pod, what it waits for and since when, and what went wrong. */
export function explainPod(input: ExplainInput): PodExplanation {
  const { pod, runtime, nowMs } = input;
  const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
  const ready = pod.status?.conditions?.find(({ type }) => type === "Ready");
  const isReady = ready?.status === "True";
  const sandbox = newestSandbox(runtime);
  return {
    nowMs,
    node: input.node,
    namespace,
    name,
    uid,
    source: sources[input.source],
    phase: pod.status?.phase ?? "Pending",
    ready: isReady,
    ...(isReady && ready?.lastTransitionTime !== undefined
      ? { readySinceMs: Date.parse(ready.lastTransitionTime) }
      : {}),
    goal: goalOf(input),
    next: input.isAdmitted ? input.plan.actions.map((action) => actionWords(action, input)) : [],
    waits: waitsOf(input),
    sandbox:
      sandbox === undefined
        ? { state: "absent", ips: [] }
        : { state: sandbox.state, ips: sandbox.ips, sinceMs: sandbox.createdAtMs },
    containers: containerStories(input),
    errors: input.errors.toReversed(),
    timeline: [seen(input), ...input.steps],
  };
}

/** The moment the Pod was seen was taken by another clock, which may be a tick ahead of the steps'. */
function seen({ firstSeenMs, steps }: ExplainInput): PodStep {
  const atMs = Math.min(firstSeenMs, ...steps.map(({ startMs }) => startMs));
  return { what: "seen", container: undefined, startMs: atMs, endMs: atMs, failed: false };
}

function goalOf({ pod, memory, source, isGone, isCleaned, nowMs }: ExplainInput): string {
  const deleted = pod.metadata?.deletionTimestamp;
  const grace = `${podGraceSeconds(pod)}s of grace`;
  if (source === "orphan") return "that it ends: no source knows it";
  if (memory.verdict !== undefined && deleted === undefined)
    return `that nothing of it runs: ${memory.verdict.reason}: ${memory.verdict.message}`;
  if (deleted !== undefined) {
    const since = memory.terminatingSinceMs ?? nowMs;
    return `that it ends: it was deleted, with ${grace}, at ${new Date(since).toISOString().slice(11, 19)}`;
  }
  if (isGone) return `that it ends, with ${grace}: its source does not have it any more`;
  if (mustStop(pod, memory))
    return `nothing more: it has ended (${pod.status?.phase})${isCleaned ? " and is cleaned up" : ""}`;
  return "that it runs";
}

function waitsOf(input: ExplainInput): readonly Wait[] {
  const { nowMs, open, unwritten, apiTrouble } = input;
  const calls = open
    .filter((step) => isSlow(step, nowMs))
    .map(({ what, container, startMs }) => ({
      on: "the runtime",
      ...(container === undefined ? {} : { container }),
      detail: `it has not answered "${what}"`,
      sinceMs: startMs,
    }));
  const isEnding = mustStop(input.pod, input.memory);
  const own = isEnding ? endWaits(input) : runWaits(input);
  const waits: Wait[] = [
    ...(input.runtimeTrouble === undefined ? [] : [away(input.runtimeTrouble)]),
    ...own,
    ...calls.filter((call) => !own.some(({ sinceMs }) => sinceMs === call.sinceMs)),
  ];
  if (unwritten !== undefined)
    waits.push({
      on: "the API",
      detail: `it has not taken the Pod's status: ${unwritten.message}`,
      sinceMs: unwritten.sinceMs,
    });
  else if (apiTrouble !== undefined)
    waits.push({ on: "the API", detail: `it is away, so news of the Pod may be missing: ${apiTrouble}` });
  return waits;
}

function away(trouble: string): Wait {
  return { on: "the runtime", detail: `${trouble}; every Pod of the node is looked at when it is back` };
}

function isSlow({ what, startMs }: PodStep, nowMs: number): boolean {
  return nowMs - startMs >= slowMs && !told.includes(what);
}

function containerStories(input: ExplainInput): readonly ContainerStory[] {
  const records = containerRecords(input.runtime.containers);
  const { status } = input.pod;
  const statuses = [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return containersOf(input.pod).map((spec) => {
    const record = records.get(spec.container.name);
    const reported = statuses.find(({ name }) => name === spec.container.name);
    return containerStory(spec, record?.newest, record?.older.find(isEnded), reported, input);
  });
}

function containerStory(
  { container, kind }: SpecContainer,
  newest: ContainerStatus | undefined,
  older: ContainerStatus | undefined,
  reported: ApiContainerStatus | undefined,
  input: ExplainInput,
): ContainerStory {
  const waiting = reported?.state?.waiting;
  const before = waiting !== undefined && newest?.state === "exited" ? newest : older;
  const base = {
    name: container.name,
    kind,
    image: container.image ?? "",
    restarts: newest?.attempt ?? reported?.restartCount ?? 0,
    probes: newest === undefined ? [] : (input.probes.get(newest.id) ?? []),
    ...(before === undefined
      ? {}
      : {
          before: {
            exitCode: before.exitCode,
            reason: before.reason,
            startMs: before.startedAtMs === 0 ? before.createdAtMs : before.startedAtMs,
            endMs: before.finishedAtMs,
          },
        }),
  };
  if (newest?.state === "running" || newest?.state === "unknown")
    return { ...base, state: newest.state, reason: waiting?.reason ?? "", sinceMs: newest.startedAtMs };
  const ended = reported?.state?.terminated;
  if (ended !== undefined)
    return {
      ...base,
      state: "ended",
      reason: `${ended.reason ?? "Error"}, exit code ${ended.exitCode}`,
      ...(ended.finishedAt === undefined ? {} : { sinceMs: Date.parse(ended.finishedAt) }),
    };
  return { ...base, state: "waiting", reason: waiting?.reason ?? "ContainerCreating" };
}

function isEnded({ state }: ContainerStatus): boolean {
  return state === "exited";
}

function actionWords(action: PodAction, { pod, isGone, isCleaned }: ExplainInput): string {
  switch (action.do) {
    case "mount-volumes":
      return "set up the volumes";
    case "kill-container":
      return `stop container "${action.container.name}" within ${action.graceSeconds}s: ${action.message}`;
    case "stop-sandbox":
      return "stop the sandbox";
    case "create-sandbox":
      return action.attempt === 0
        ? "create the sandbox"
        : `create the sandbox anew (attempt ${action.attempt})`;
    case "pull-image":
      return `bring the image of container "${action.spec.container.name}": ${action.spec.container.image ?? ""}`;
    case "start-container":
      return `start container "${action.spec.container.name}"${action.attempt === 0 ? "" : ` (restart ${action.attempt})`}`;
    case "remove-container":
    case "remove-run":
      return `remove the record of container "${action.container.name}"`;
    case "clean-up":
      if (isGone) return "remove what is left of it on this node";
      if (!isCleaned) return "take down its volumes and its cgroup";
      return pod.metadata?.deletionTimestamp === undefined ? "keep its record" : "let the API forget it";
    default:
      return action satisfies never;
  }
}
