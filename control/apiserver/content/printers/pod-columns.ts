import type { Column, StoredObject } from "../../../model.ts";
import { at, type Json, number, record, records, text } from "../json.ts";
import { ageColumn, ageOf, column, conditionStatus, nameColumn, textAt, wide } from "./cells.ts";

/** What one line of `kubectl get pods` says, before ages. */
export interface PodSummary {
  readonly status: string;
  readonly ready: number;
  readonly total: number;
  readonly restarts: number;
  /** When a container last ended before its restart; "" for never. */
  readonly lastRestart: string;
}

interface Restarts {
  readonly count: number;
  readonly last: string;
}

const none: Restarts = { count: 0, last: "" };

/** Condenses the states of all containers to one word and three numbers, as kubectl has shown them for years. */
export function podSummary(pod: StoredObject): PodSummary {
  const initStatuses = records(at(pod, "status.initContainerStatuses"));
  const sidecars = new Set(
    records(at(pod, "spec.initContainers"))
      .filter((each) => each["restartPolicy"] === "Always")
      .map((each) => text(each["name"])),
  );
  const total = records(at(pod, "spec.containers")).length + sidecars.size;
  const init = initStatus(pod, initStatuses, sidecars);
  const readySidecars = initStatuses.filter(
    (each) => sidecars.has(text(each["name"])) && each["ready"] === true,
  );
  const initialized = init === undefined || conditionStatus(pod, "Initialized") === "True";
  if (!initialized) {
    const restarts = initStatuses.reduce(addRestarts, none);
    return {
      status: deletionStatus(pod, init),
      ready: readySidecars.length,
      total,
      restarts: restarts.count,
      lastRestart: restarts.last,
    };
  }
  const statuses = records(at(pod, "status.containerStatuses"));
  const restarts = [...initStatuses.filter((each) => sidecars.has(text(each["name"]))), ...statuses].reduce(
    addRestarts,
    none,
  );
  const running = statuses.filter(
    (each) => each["ready"] === true && record(each["state"])["running"] !== undefined,
  );
  return {
    status: deletionStatus(pod, mainStatus(pod, statuses, running.length > 0)),
    ready: running.length + readySidecars.length,
    total,
    restarts: restarts.count,
    lastRestart: restarts.last,
  };
}

/** Undefined when every init container has done its part. */
function initStatus(
  pod: StoredObject,
  statuses: readonly Json[],
  sidecars: ReadonlySet<string>,
): string | undefined {
  for (const [index, status] of statuses.entries()) {
    const terminated = at(status, "state.terminated");
    if (terminated !== undefined && number(record(terminated)["exitCode"]) === 0) continue;
    if (sidecars.has(text(status["name"])) && status["started"] === true) continue;
    if (terminated !== undefined) return `Init:${endedStatus(record(terminated))}`;
    const waiting = text(at(status, "state.waiting.reason"));
    if (waiting !== "" && waiting !== "PodInitializing") return `Init:${waiting}`;
    return `Init:${index}/${records(at(pod, "spec.initContainers")).length}`;
  }
  return undefined;
}

function endedStatus(terminated: Json): string {
  const reason = text(terminated["reason"]);
  if (reason !== "") return reason;
  const signal = number(terminated["signal"]);
  return signal === 0 ? `ExitCode:${number(terminated["exitCode"])}` : `Signal:${signal}`;
}

function mainStatus(pod: StoredObject, statuses: readonly Json[], hasRunning: boolean): string {
  let status = text(at(pod, "status.reason")) || text(at(pod, "status.phase"));
  const scheduled = records(at(pod, "status.conditions")).find((each) => each["type"] === "PodScheduled");
  if (scheduled?.["reason"] === "SchedulingGated") status = "SchedulingGated";
  // The first container with something to say wins, so they are walked from the last.
  for (const each of statuses.toReversed()) {
    const waiting = text(at(each, "state.waiting.reason"));
    const terminated = at(each, "state.terminated");
    if (waiting !== "") status = waiting;
    else if (terminated !== undefined) status = endedStatus(record(terminated));
  }
  if (status !== "Completed" || !hasRunning) return status;
  return conditionStatus(pod, "Ready") === "True" ? "Running" : "NotReady";
}

function deletionStatus(pod: StoredObject, status: string): string {
  if (pod.metadata.deletionTimestamp === undefined) return status;
  if (at(pod, "status.reason") === "NodeLost") return "Unknown";
  return ["Succeeded", "Failed"].includes(text(at(pod, "status.phase"))) ? status : "Terminating";
}

function addRestarts(sum: Restarts, status: Json): Restarts {
  const ended = text(at(status, "lastState.terminated.finishedAt"));
  return { count: sum.count + number(status["restartCount"]), last: ended > sum.last ? ended : sum.last };
}

function readinessGates(pod: StoredObject): string {
  const gates = records(at(pod, "spec.readinessGates"));
  if (gates.length === 0) return "<none>";
  const met = gates.filter((gate) => conditionStatus(pod, text(gate["conditionType"])) === "True");
  return `${met.length}/${gates.length}`;
}

export const podColumns: readonly Column[] = [
  nameColumn,
  column("Ready", (pod) => {
    const { ready, total } = podSummary(pod);
    return `${ready}/${total}`;
  }),
  column("Status", (pod) => podSummary(pod).status),
  column("Restarts", (pod, nowMs) => {
    const { restarts, lastRestart } = podSummary(pod);
    return restarts === 0 || lastRestart === ""
      ? String(restarts)
      : `${restarts} (${ageOf(lastRestart, nowMs)} ago)`;
  }),
  ageColumn,
  wide(
    "IP",
    (pod) => text(records(at(pod, "status.podIPs"))[0]?.["ip"]) || text(at(pod, "status.podIP")) || "<none>",
  ),
  wide("Node", textAt("spec.nodeName")),
  wide("Nominated Node", textAt("status.nominatedNodeName")),
  wide("Readiness Gates", readinessGates),
];
