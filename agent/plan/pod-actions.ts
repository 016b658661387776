import type { Container, Pod } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../model.ts";
import type { ContainerStatus, SandboxStatus } from "../runtime/runtime.ts";
import { containerHash } from "./container-hash.ts";
import { type ContainerRecord, containerRecords } from "./container-records.ts";
import { containersOf, type SpecContainer } from "./containers-of.ts";
import { nextWaitMs, restartAtMs } from "./crash-backoff.ts";
import { podGraceSeconds, probeGraceSeconds } from "./grace-period.ts";
import { imageVolumes } from "./image-volumes.ts";
import { annotation } from "./names.ts";
import { restartAllTrigger } from "./restart-all.ts";
import { actuatedResources, resizeNeed } from "./resize.ts";
import { comesBack } from "./restart-policy.ts";
import { sandboxNeed } from "./sandbox-need.ts";

/** One thing to do for a Pod. Killing and pulling go on in the background; the rest is done when it returns. */
export type PodAction =
  | { readonly do: "mount-volumes" }
  | {
      readonly do: "kill-container";
      readonly container: ContainerStatus;
      readonly spec: SpecContainer | undefined;
      /** For the Killing event. */
      readonly message: string;
      readonly graceSeconds: number;
      readonly preStop: boolean;
      /** It is ended so that it runs anew, whatever it answers. */
      readonly replaces: boolean;
    }
  | { readonly do: "stop-sandbox"; readonly id: string }
  | { readonly do: "create-sandbox"; readonly attempt: number }
  | { readonly do: "pull-image"; readonly spec: SpecContainer }
  | {
      readonly do: "start-container";
      readonly spec: SpecContainer;
      readonly sandbox: SandboxStatus;
      readonly attempt: number;
      /** The runtime knows no run before this one: there may be logs of one all the same. */
      readonly isFirst: boolean;
      /** Written on the container: how long to wait after its end. */
      readonly backoffMs: number;
      readonly imageRef: string;
    }
  | { readonly do: "remove-container"; readonly container: ContainerStatus }
  /** Removed so that it runs anew: its count and back-off are remembered. */
  | { readonly do: "remove-run"; readonly container: ContainerStatus }
  /** Nothing runs any more and the Pod will not run again. */
  | { readonly do: "clean-up" };

/** What to do for a Pod now, in order, and when to look again without an event. */
export interface PodPlan {
  readonly actions: readonly PodAction[];
  /** Wall time in milliseconds; undefined when only an event can change anything. */
  readonly wakeAtMs: number | undefined;
  /** Containers that wait for their back-off to pass: name -> its wait in milliseconds. */
  readonly backingOff: ReadonlyMap<string, number>;
}

/**
 * The next steps for one Pod. A level, not an event: it reads what the runtime has and asks for the difference.
 * @param nowMs wall time.
 */
export function planPod(pod: Pod, runtime: PodRuntime, memory: PodMemory, nowMs: number): PodPlan {
  const draft = new Draft();
  if (mustStop(pod, memory)) planEnd(pod, runtime, memory, nowMs, draft);
  else planRun(pod, runtime, memory, nowMs, draft);
  return draft;
}

/** Whether the Pod is on its way out: deleted, removed from its source, judged, or finished. */
export function mustStop(pod: Pod, memory: PodMemory): boolean {
  return (
    memory.terminatingSinceMs !== undefined ||
    memory.verdict !== undefined ||
    pod.metadata?.deletionTimestamp !== undefined ||
    pod.status?.phase === "Succeeded" ||
    pod.status?.phase === "Failed"
  );
}

/** Collects a plan; it never leaves this file half-filled. */
class Draft implements PodPlan {
  readonly actions: PodAction[] = [];
  readonly backingOff = new Map<string, number>();
  wakeAtMs: number | undefined;

  wakeAt(ms: number): void {
    this.wakeAtMs = Math.min(this.wakeAtMs ?? Number.POSITIVE_INFINITY, ms);
  }
}

function planRun(pod: Pod, runtime: PodRuntime, memory: PodMemory, nowMs: number, draft: Draft): void {
  const need = sandboxNeed(pod, runtime);
  if (isFinished(pod, runtime, memory)) {
    planEnd(pod, runtime, memory, nowMs, draft);
    return;
  }
  if (need.need === "create") {
    const running = runtime.containers.filter(isAlive);
    for (const container of running) {
      kill(draft, memory, {
        container,
        spec: containersOf(pod).find((one) => one.container.name === container.name),
        message: "Pod sandbox changed, it will be killed and re-created.",
        deadlineMs: nowMs + podGraceSeconds(pod) * 1_000,
        nowMs,
      });
    }
    if (running.length > 0) return;
    for (const sandbox of need.replaces.filter((old) => old.state === "ready")) {
      draft.actions.push({ do: "stop-sandbox", id: sandbox.id });
    }
    if (memory.volumes.state !== "ready") {
      draft.actions.push({ do: "mount-volumes" });
      return;
    }
    if (!memory.networkReady && pod.spec?.hostNetwork !== true) {
      draft.wakeAt(nowMs + 1_000);
      return;
    }
    if (memory.sandboxFailure !== undefined && memory.sandboxFailure.retryAtMs > nowMs) {
      draft.wakeAt(memory.sandboxFailure.retryAtMs);
      return;
    }
    // Pulling does not need the sandbox: the two waits overlap.
    for (const spec of firstToStart(pod)) pullIfAbsent(spec, memory, nowMs, draft);
    draft.actions.push({ do: "create-sandbox", attempt: need.attempt });
    return;
  }
  if (memory.volumes.state !== "ready") draft.actions.push({ do: "mount-volumes" });
  const all = containersOf(pod);
  const inSandbox = containerRecords(
    runtime.containers.filter((container) => container.sandboxId === need.sandbox.id),
  );
  const everyRecord = containerRecords(runtime.containers);
  const context: RunContext = { pod, memory, nowMs, draft, sandbox: need.sandbox, inSandbox, everyRecord };
  killStrangers(context, all);
  const trigger = restartAllTrigger(pod, runtime);
  if (trigger !== undefined) {
    planRestartAll(context, runtime, trigger);
    return;
  }
  for (const spec of all.filter(({ kind }) => kind === "ephemeral")) {
    if (!inSandbox.has(spec.container.name)) start(context, spec);
  }
  if (!planInit(context, all)) return;
  for (const spec of all.filter(({ kind }) => kind === "app")) {
    if (planContainer(context, spec) === "hold") return;
  }
}

/**
 * Everything but ephemeral containers ends at once, without hooks; when the back-off of the one that asked for it has
 * passed all records go, its own last. The sandbox, its address and the volumes stay, and the Pod begins anew.
 */
function planRestartAll(context: RunContext, runtime: PodRuntime, trigger: ContainerStatus): void {
  const { draft, memory, nowMs } = context;
  const specs = containersOf(context.pod).filter(({ kind }) => kind !== "ephemeral");
  const runs = specs.flatMap((spec) =>
    runtime.containers
      .filter(({ name }) => name === spec.container.name)
      .map((container) => ({ spec, container })),
  );
  const alive = runs.filter(({ container }) => isAlive(container));
  for (const { spec, container } of alive) {
    const message = `Container ${trigger.name} ended with a code that restarts all containers`;
    kill(draft, memory, { container, spec, message, deadlineMs: nowMs, nowMs, abruptly: true });
  }
  if (alive.length > 0) return;
  const spec = specs.find(({ container }) => container.name === trigger.name);
  if (spec !== undefined && waits(context, spec, trigger)) return;
  const others = runs.filter(({ container }) => container.id !== trigger.id);
  for (const container of [...others.map((run) => run.container), trigger]) {
    draft.actions.push({ do: "remove-run", container });
  }
}

interface RunContext {
  readonly pod: Pod;
  readonly memory: PodMemory;
  readonly nowMs: number;
  readonly draft: Draft;
  readonly sandbox: SandboxStatus;
  /** Of the sandbox in use. */
  readonly inSandbox: ReadonlyMap<string, ContainerRecord>;
  /** Of every sandbox: restart counts and back-off go on when a sandbox is replaced. */
  readonly everyRecord: ReadonlyMap<string, ContainerRecord>;
}

/** Init containers one after the other. @returns true when app containers may run. */
function planInit(context: RunContext, all: readonly SpecContainer[]): boolean {
  const inits = all.filter(({ kind }) => kind === "init" || kind === "sidecar");
  const initialized = all.some(
    ({ kind, container }) => kind === "app" && context.inSandbox.has(container.name),
  );
  const lastBegun = inits.findLastIndex(({ container }) => context.inSandbox.has(container.name));
  for (const [place, spec] of inits.entries()) {
    const record = context.inSandbox.get(spec.container.name);
    if (spec.kind === "sidecar") {
      const hold = planContainer(context, spec) === "hold";
      if (!initialized && (hold || !hasStarted(context.memory, record?.newest))) return false;
      continue;
    }
    if (initialized || place < lastBegun) continue; // a later one has begun, so this one has ended well
    if (record?.newest.state === "exited" && record.newest.exitCode === 0) continue;
    planContainer(context, spec);
    return false;
  }
  return true;
}

/** One container by its own state. @returns "hold" when containers after it have to wait. */
function planContainer(context: RunContext, spec: SpecContainer): "go-on" | "hold" {
  const { pod, memory, draft } = context;
  const record = context.inSandbox.get(spec.container.name);
  if (record === undefined) {
    const earlier = context.everyRecord.get(spec.container.name)?.newest;
    if (earlier?.state === "exited") {
      // What ended for good in an earlier sandbox is not run again; init containers are, for the new sandbox.
      if (spec.kind === "app" && !comesBack(pod, spec, earlier, memory)) return "go-on";
      if (waits(context, spec, earlier)) return "go-on";
    }
    start(context, spec);
    return holdsOthers(spec);
  }
  const current = record.newest;
  switch (current.state) {
    case "running": {
      const why = restartReason(context, spec, current);
      if (why !== undefined) killNow(context, current, spec, why.message, why.graceSeconds, true);
      return memory.postStart.get(current.id) === "running" ? "hold" : "go-on";
    }
    case "created": // the agent ended between create and start: nothing ran, so nothing is lost
      draft.actions.push({ do: "remove-container", container: current });
      start(context, spec);
      return holdsOthers(spec);
    case "unknown":
      killNow(
        context,
        current,
        spec,
        `Container ${current.name} is in unknown state, try killing it before restart`,
        podGraceSeconds(pod),
      );
      return "go-on";
    case "exited":
      if (!comesBack(pod, spec, current, memory)) return "go-on";
      if (waits(context, spec, current)) return "go-on";
      start(context, spec);
      return holdsOthers(spec);
    default:
      return current.state satisfies never;
  }
}

/** A container with a postStart hook is started before the next one is looked at: the hook may be a gate. */
function holdsOthers({ container }: SpecContainer): "go-on" | "hold" {
  return container.lifecycle?.postStart === undefined ? "go-on" : "hold";
}

/** Whether the crash back-off of `ended` has still to pass. A new image does not wait, nor do new resources. */
function waits(context: RunContext, spec: SpecContainer, ended: ContainerStatus): boolean {
  if (isMadeAnew(context, spec, ended) || context.memory.cutShort.has(ended.id)) return false;
  const at = restartAtMs(ended);
  if (at <= context.nowMs) return false;
  context.draft.backingOff.set(spec.container.name, at - ended.finishedAtMs);
  context.draft.wakeAt(at);
  return true;
}

function restartReason(
  context: RunContext,
  { container, kind }: SpecContainer,
  current: ContainerStatus,
): { readonly message: string; readonly graceSeconds: number } | undefined {
  const { pod, memory } = context;
  if (kind === "ephemeral") return undefined;
  if (hashChanged(container, current)) {
    return {
      message: `Container ${container.name} definition changed, will be restarted`,
      graceSeconds: podGraceSeconds(pod),
    };
  }
  if (memory.postStart.get(current.id) === "failed") {
    return { message: "FailedPostStartHook", graceSeconds: podGraceSeconds(pod) };
  }
  if (kind !== "init" && resizeNeed(container, actuatedResources(memory, current)) === "restart") {
    return {
      message: `Container ${container.name} resize requires restart`,
      graceSeconds: podGraceSeconds(pod),
    };
  }
  const probes = memory.probes.get(current.id);
  for (const probe of ["startup", "liveness"] as const) {
    if (probes?.[probe] === "failure") {
      return {
        message: `Container ${container.name} failed ${probe} probe, will be restarted`,
        graceSeconds: probeGraceSeconds(pod, container, probe),
      };
    }
  }
  return undefined;
}

function start(context: RunContext, spec: SpecContainer): void {
  const { memory, nowMs, draft } = context;
  if (memory.volumes.state !== "ready") return;
  const failure = memory.startFailures.get(spec.container.name);
  if (failure !== undefined && failure.retryAtMs > nowMs) {
    draft.wakeAt(failure.retryAtMs);
    return;
  }
  const image = pullIfAbsent(spec, memory, nowMs, draft);
  const mounted = imageVolumes(context.pod, spec).map((one) => pullIfAbsent(one, memory, nowMs, draft));
  if (image === undefined || mounted.includes(undefined)) return;
  const { name } = spec.container;
  const before = context.everyRecord.get(name)?.newest ?? memory.removedRuns.get(name);
  const fresh = before === undefined || isMadeAnew(context, spec, before);
  draft.actions.push({
    do: "start-container",
    spec,
    sandbox: context.sandbox,
    isFirst: before === undefined,
    ...(before?.state === "created"
      ? { attempt: before.attempt, backoffMs: Number(before.annotations[annotation.backoffMs] ?? 0) }
      : {
          attempt: before === undefined ? noted(context.pod, spec) : before.attempt + 1,
          backoffMs: fresh ? 0 : nextWaitMs(before, memory.maxRestartWaitMs),
        }),
    imageRef: image,
  });
}

/** The restart count goes on from the API's when the runtime has lost every container of that name. */
function noted(pod: Pod, spec: SpecContainer): number {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const status = statuses.find(({ name }) => name === spec.container.name);
  if (status === undefined) return 0;
  // Without an id it counts the run that was lost already: see container-statuses.ts.
  return (status.containerID ?? "") === "" ? status.restartCount : status.restartCount + 1;
}

/** @returns the image's reference when it is there. */
function pullIfAbsent(
  spec: SpecContainer,
  memory: PodMemory,
  nowMs: number,
  draft: Draft,
): string | undefined {
  const image = memory.images.get(spec.container.name) ?? { state: "absent" };
  switch (image.state) {
    case "present":
      return image.ref;
    case "pulling":
      return undefined;
    case "failed":
      if (image.retryAtMs > nowMs) {
        draft.wakeAt(image.retryAtMs);
        return undefined;
      }
      draft.actions.push({ do: "pull-image", spec });
      return undefined;
    case "absent":
      draft.actions.push({ do: "pull-image", spec });
      return undefined;
    default:
      return image satisfies never;
  }
}

/** App containers first and together, then sidecars from the last to the first; then the sandbox, then the rest. */
function planEnd(pod: Pod, runtime: PodRuntime, memory: PodMemory, nowMs: number, draft: Draft): void {
  const alive = runtime.containers.filter(isAlive);
  const graceSeconds = Math.min(
    podGraceSeconds(pod),
    memory.verdict?.graceSeconds ?? Number.POSITIVE_INFINITY,
  );
  const deadlineMs = (memory.terminatingSinceMs ?? nowMs) + graceSeconds * 1_000;
  const specs = new Map(containersOf(pod).map((spec) => [spec.container.name, spec]));
  const sidecars = [...specs.values()]
    .filter(({ kind }) => kind === "sidecar")
    .map((spec) => spec.container.name);
  const first = alive.filter((container) => !sidecars.includes(container.name));
  const last = alive
    .filter((container) => sidecars.includes(container.name))
    .toSorted((a, b) => sidecars.indexOf(b.name) - sidecars.indexOf(a.name))
    .slice(0, 1);
  for (const container of first.length > 0 ? first : last) {
    kill(draft, memory, {
      container,
      spec: specs.get(container.name),
      message: `Stopping container ${container.name}`,
      deadlineMs,
      nowMs,
    });
  }
  if (alive.length > 0) return;
  for (const container of runtime.containers.filter(({ state }) => state === "created")) {
    draft.actions.push({ do: "remove-container", container });
  }
  for (const sandbox of runtime.sandboxes.filter(({ state }) => state === "ready")) {
    draft.actions.push({ do: "stop-sandbox", id: sandbox.id });
  }
  draft.actions.push({ do: "clean-up" });
}

function kill(
  draft: Draft,
  memory: PodMemory,
  what: {
    readonly container: ContainerStatus;
    readonly spec: SpecContainer | undefined;
    readonly message: string;
    readonly deadlineMs: number;
    readonly nowMs: number;
    /** No hook and no grace period. */
    readonly abruptly?: boolean;
    readonly replaces?: boolean;
  },
): void {
  const { container, spec, message, deadlineMs, nowMs, abruptly = false, replaces = false } = what;
  const going = memory.kills.get(container.id);
  // The grace period may only shrink; a shorter one replaces the running stop. Rounding is no shrinking.
  if (going !== undefined && going.deadlineMs <= deadlineMs + 500) return;
  draft.actions.push({
    do: "kill-container",
    container,
    spec,
    message,
    graceSeconds: abruptly ? 0 : Math.max(1, Math.ceil((deadlineMs - nowMs) / 1_000)),
    preStop: going === undefined && !abruptly,
    replaces,
  });
}

function killNow(
  { draft, memory, nowMs }: RunContext,
  container: ContainerStatus,
  spec: SpecContainer | undefined,
  message: string,
  graceSeconds: number,
  replaces: boolean = false,
): void {
  kill(draft, memory, {
    container,
    spec,
    message,
    deadlineMs: nowMs + graceSeconds * 1_000,
    nowMs,
    replaces,
  });
}

/** Containers of the Pod that its spec does not name any more. */
function killStrangers(context: RunContext, all: readonly SpecContainer[]): void {
  const known = new Set(all.map(({ container }) => container.name));
  for (const [name, { newest }] of context.inSandbox) {
    if (known.has(name) || !isAlive(newest)) continue;
    killNow(context, newest, undefined, `Stopping container ${name}`, podGraceSeconds(context.pod));
  }
}

/** What is needed first: the first init container, or the app containers. */
function firstToStart(pod: Pod): readonly SpecContainer[] {
  const all = containersOf(pod);
  const init = all.find(({ kind }) => kind === "init" || kind === "sidecar");
  return init === undefined ? all.filter(({ kind }) => kind === "app") : [init];
}

/** Whether a container of this record has ended for good. */
function isDone(
  pod: Pod,
  spec: SpecContainer,
  record: ContainerRecord | undefined,
  memory: PodMemory,
): boolean {
  return record?.newest.state === "exited" && !comesBack(pod, spec, record.newest, memory);
}

/** Whether every app container has ended for good, or an init container failed for good. */
function isFinished(pod: Pod, runtime: PodRuntime, memory: PodMemory): boolean {
  const records = containerRecords(runtime.containers);
  const all = containersOf(pod);
  const initFailed = all.some((spec) => {
    const newest = records.get(spec.container.name)?.newest;
    return (
      spec.kind === "init" &&
      newest !== undefined &&
      newest.exitCode !== 0 &&
      isDone(pod, spec, { newest, older: [] }, memory)
    );
  });
  const apps = all.filter(({ kind }) => kind === "app");
  return initFailed || apps.every((spec) => isDone(pod, spec, records.get(spec.container.name), memory));
}

/** A sidecar counts as started when its startup probe passed and its postStart hook has ended. */
export function hasStarted(memory: PodMemory, container: ContainerStatus | undefined): boolean {
  if (container?.state !== "running") return false;
  const hook = memory.postStart.get(container.id);
  if (hook === "running" || hook === "failed") return false;
  const probes = memory.probes.get(container.id);
  return probes === undefined || probes.startup === "success";
}

function isAlive(container: ContainerStatus): boolean {
  return container.state === "running" || container.state === "unknown";
}

/** Whether the next run is another container than the one that ended: its image or its resources are new. */
function isMadeAnew({ memory }: RunContext, { container }: SpecContainer, ended: ContainerStatus): boolean {
  return (
    hashChanged(container, ended) || resizeNeed(container, actuatedResources(memory, ended)) === "restart"
  );
}

function hashChanged(container: Container, current: ContainerStatus): boolean {
  const hash = current.annotations[annotation.containerHash];
  return hash !== undefined && hash !== containerHash(container);
}
