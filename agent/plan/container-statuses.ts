import type {
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus as ApiContainerStatus,
  Pod,
} from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../model.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { type ContainerRecord, containerRecords } from "./container-records.ts";
import { containersOf, type SpecContainer } from "./containers-of.ts";
import { restartAtMs } from "./crash-backoff.ts";
import { isImageOf } from "./image-volumes.ts";
import { hasStarted, mustStop } from "./pod-actions.ts";
import { actuatedResources } from "./resize.ts";
import { comesBack } from "./restart-policy.ts";

/** What a status is made from besides the Pod. */
export interface StatusInput {
  readonly runtime: PodRuntime;
  readonly memory: PodMemory;
  /** `containerd`, `docker`: the scheme of container ids. */
  readonly runtimeName: string;
  /** What containers said when they ended, by container id. */
  readonly terminationMessages: ReadonlyMap<string, string>;
  /** Wall time. */
  readonly nowMs: number;
}

/** The statuses of the containers of these kinds, in the order of the spec. */
export function containerStatuses(
  pod: Pod,
  kinds: readonly SpecContainer["kind"][],
  input: StatusInput,
): readonly ApiContainerStatus[] {
  const records = containerRecords(input.runtime.containers);
  const initialized = isInitialized(pod, input);
  return containersOf(pod)
    .filter(({ kind }) => kinds.includes(kind))
    .map((spec) => statusOf(pod, spec, records.get(spec.container.name), initialized, input));
}

/** Whether every init container has done its part, so that app containers may run. */
export function isInitialized(pod: Pod, { runtime, memory }: StatusInput): boolean {
  const records = containerRecords(runtime.containers);
  const all = containersOf(pod);
  if (all.some(({ kind, container }) => kind === "app" && records.has(container.name))) return true;
  return all
    .filter(({ kind }) => kind === "init" || kind === "sidecar")
    .every(({ kind, container }) => {
      const newest = records.get(container.name)?.newest;
      return kind === "sidecar"
        ? hasStarted(memory, newest)
        : newest?.state === "exited" && newest.exitCode === 0;
    });
}

/** A time as the API writes it, whole seconds. */
export function apiTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function statusOf(
  pod: Pod,
  spec: SpecContainer,
  record: ContainerRecord | undefined,
  initialized: boolean,
  input: StatusInput,
): ApiContainerStatus {
  const { container, kind } = spec;
  const before = previousStatus(pod, container.name);
  if (record === undefined) return unseen(pod, spec, before, initialized, input);
  const { newest } = record;
  const state = stateOf(pod, spec, newest, input);
  const ended =
    newest.state === "exited" && state.waiting !== undefined
      ? newest
      : record.older.find((one) => one.state === "exited");
  const started = hasStarted(input.memory, newest);
  const probes = input.memory.probes.get(newest.id);
  const ready =
    kind === "init"
      ? newest.state === "exited" && newest.exitCode === 0
      : state.running !== undefined && started && (probes === undefined || probes.readiness === "success");
  return {
    name: container.name,
    state,
    lastState:
      ended === undefined
        ? keptEnd(before, idOf(newest, input))
        : { terminated: terminated(pod, ended, input) },
    ready: kind === "ephemeral" ? false : ready,
    restartCount: newest.attempt,
    image: newest.image === "" ? (container.image ?? "") : newest.image,
    imageID: newest.imageRef,
    containerID: idOf(newest, input),
    ...(newest.stopSignal === undefined ? {} : { stopSignal: newest.stopSignal }),
    ...volumeMountStatuses(container, newest),
    ...(newest.user === undefined ? {} : { user: { linux: newest.user } }),
    ...(kind === "ephemeral"
      ? {}
      : { started: kind === "init" ? false : state.running !== undefined && started }),
    ...(container.resources === undefined ||
    Object.keys(container.resources).length === 0 ||
    newest.state !== "running"
      ? {}
      : {
          resources: actuatedResources(input.memory, newest) ?? container.resources,
          ...(container.resources.requests === undefined
            ? {}
            : { allocatedResources: container.resources.requests }),
        }),
  };
}

/** How the container's volumes came to be mounted: what was asked for "if possible" is told as it is. */
function volumeMountStatuses(
  { volumeMounts = [] }: SpecContainer["container"],
  { mounts }: ContainerStatus,
): Pick<ApiContainerStatus, "volumeMounts"> {
  if (volumeMounts.length === 0) return {};
  return {
    volumeMounts: volumeMounts.map(({ name, mountPath, readOnly = false }) => {
      if (!readOnly) return { name, mountPath };
      const mount = mounts.find(({ containerPath }) => containerPath === mountPath);
      const recursiveReadOnly = mount?.recursiveReadonly === true ? "Enabled" : "Disabled";
      return { name, mountPath, readOnly, recursiveReadOnly };
    }),
  };
}

/** The end of the run before this one, when the runtime has no record of it any more. */
function keptEnd(before: ApiContainerStatus | undefined, containerID: string): ContainerState {
  if (before?.containerID === containerID) return before.lastState ?? {};
  // A run that was lost without a record was noted while the next one was waited for.
  if (before?.state?.waiting !== undefined) return before.lastState ?? {};
  return before?.state?.terminated === undefined ? {} : { terminated: before.state.terminated };
}

/** A container that the runtime does not have: not yet, or not any more. */
function unseen(
  pod: Pod,
  spec: SpecContainer,
  before: ApiContainerStatus | undefined,
  initialized: boolean,
  input: StatusInput,
): ApiContainerStatus {
  const { container, kind } = spec;
  const base = {
    name: container.name,
    ready: false,
    image: container.image ?? "",
    imageID: "",
    started: false,
  };
  if (before?.state?.terminated !== undefined) return before; // it was seen to end, and its record was collected
  const hasRun = before?.containerID !== undefined && before.containerID !== "";
  if (kind === "init" && initialized && !mustStop(pod, input.memory) && hasRun) {
    return { ...before, ready: true };
  }
  if (hasRun && before?.state?.running !== undefined) {
    const lost: ContainerStateTerminated = {
      exitCode: 137,
      reason: "ContainerStatusUnknown",
      message: "The container could not be located when the pod was terminated",
      startedAt: before.state.running.startedAt ?? apiTime(input.nowMs),
      finishedAt: apiTime(input.nowMs),
      containerID: before.containerID ?? "",
    };
    if (mustStop(pod, input.memory))
      return { ...before, ready: false, started: false, state: { terminated: lost } };
    return {
      ...base,
      restartCount: before.restartCount + 1,
      lastState: { terminated: lost },
      state: { waiting: waitingFor(pod, spec, initialized, input) },
    };
  }
  return {
    ...base,
    restartCount: before?.restartCount ?? 0,
    lastState: before?.lastState ?? {},
    state: { waiting: waitingFor(pod, spec, initialized, input) },
  };
}

function stateOf(pod: Pod, spec: SpecContainer, newest: ContainerStatus, input: StatusInput): ContainerState {
  switch (newest.state) {
    case "created":
      return { waiting: waitingFor(pod, spec, true, input) };
    case "running":
    case "unknown":
      if (input.memory.postStart.get(newest.id) === "running") {
        return { waiting: { reason: "ContainerCreating" } };
      }
      if (input.memory.postStart.get(newest.id) === "failed") {
        // It is being killed: for its users it never ran.
        const failure = startTrouble(spec.container.name, input);
        return { waiting: failure ?? { reason: "PostStartHookError" } };
      }
      return { running: { startedAt: apiTime(newest.startedAtMs) } };
    case "exited": {
      const again = !mustStop(pod, input.memory) && comesBack(pod, spec, newest, input.memory);
      const failure = again ? startTrouble(spec.container.name, input) : undefined;
      const backsOff = again && restartAtMs(newest) > input.nowMs && !input.memory.cutShort.has(newest.id);
      // A hook's failure is one of a container that was started: the back-off replaces it, as it does a crash.
      if (failure !== undefined && !(backsOff && failure.reason === "PostStartHookError")) {
        return { waiting: failure };
      }
      if (backsOff) {
        const seconds = (restartAtMs(newest) - newest.finishedAtMs) / 1_000;
        return {
          waiting: {
            reason: "CrashLoopBackOff",
            message: `back-off ${goSeconds(seconds)} restarting failed container=${spec.container.name} pod=${pod.metadata?.name}_${pod.metadata?.namespace}(${pod.metadata?.uid})`,
          },
        };
      }
      return { terminated: terminated(pod, newest, input) };
    }
    default:
      return newest.state satisfies never;
  }
}

/** `10s`, `1m20s`, `5m0s`: durations as users know them from the kubelet. */
export function goSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole}s` : `${Math.floor(whole / 60)}m${whole % 60}s`;
}

function waitingFor(
  pod: Pod,
  { container, kind }: SpecContainer,
  initialized: boolean,
  input: StatusInput,
): { readonly reason: string; readonly message?: string } {
  const trouble = startTrouble(container.name, input);
  if (trouble !== undefined) return trouble;
  const hasInit = (pod.spec?.initContainers ?? []).length > 0;
  return { reason: hasInit && !(kind === "app" && initialized) ? "PodInitializing" : "ContainerCreating" };
}

function startTrouble(
  name: string,
  { memory, nowMs }: StatusInput,
): { readonly reason: string; readonly message: string } | undefined {
  const failure = memory.startFailures.get(name);
  if (failure !== undefined) return { reason: failure.reason, message: failure.message };
  const [, image] =
    [...memory.images].find(([key, one]) => isImageOf(name, key) && one.state === "failed") ?? [];
  if (image?.state !== "failed") return undefined;
  void nowMs;
  return { reason: image.reason, message: image.message };
}

/** Bytes that the last words of a Pod's containers may take together; each gets an equal share. */
const podMessageBytes = 12 * 1_024;

function terminated(pod: Pod, ended: ContainerStatus, input: StatusInput): ContainerStateTerminated {
  const said = input.terminationMessages.get(ended.id) ?? ended.message;
  const message = Buffer.from(said)
    .subarray(0, Math.floor(podMessageBytes / containersOf(pod).length))
    .toString();
  return {
    exitCode: ended.exitCode,
    ...(ended.signal === 0 ? {} : { signal: ended.signal }),
    reason: ended.reason === "" ? (ended.exitCode === 0 ? "Completed" : "Error") : ended.reason,
    ...(message === "" ? {} : { message }),
    startedAt: ended.startedAtMs === 0 ? apiTime(ended.createdAtMs) : apiTime(ended.startedAtMs),
    finishedAt: apiTime(ended.finishedAtMs),
    containerID: idOf(ended, input),
  };
}

function idOf(container: ContainerStatus, { runtimeName }: StatusInput): string {
  return `${runtimeName}://${container.id}`;
}

function previousStatus(pod: Pod, name: string): ApiContainerStatus | undefined {
  return [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.ephemeralContainerStatuses ?? []),
  ].find((status) => status.name === name);
}
