import type { Pod } from "#api/generated/kubernetes.ts";
import type { ContainerStatus } from "../../runtime/runtime.ts";
import { containerRecords } from "../container-records.ts";
import { containersOf, type SpecContainer } from "../containers-of.ts";
import { restartAtMs } from "../crash-backoff.ts";
import type { ExplainInput, ProbeStory, Wait } from "./pod-explanation.ts";
import { countWords, spanWords } from "./words.ts";

/** A step that failed is tried again sooner than that: one that failed longer ago has succeeded since. */
const recentMs = 15_000;

/** What a Pod that is to run waits for, in the order in which it would be met. */
export function runWaits(input: ExplainInput): readonly Wait[] {
  return [...podWaits(input), ...startWaits(input), ...gateWaits(input.pod), ...resizeWaits(input.pod)];
}

function podWaits(input: ExplainInput): readonly Wait[] {
  const { memory, pod, runtime, open, nowMs } = input;
  const waits: Wait[] = [];
  if (!input.isAdmitted) {
    const detail = "this node's own object has not been seen in the API: whether the Pod fits cannot be told";
    waits.push({ on: "the Node object", detail, sinceMs: input.firstSeenMs });
    return waits;
  }
  const step = input.errors.find(({ reason }) => reason === "FailedSync");
  if (step !== undefined && nowMs - step.lastMs < recentMs)
    waits.push({ on: "the next try of its step", detail: step.message, sinceMs: step.firstMs });
  if (memory.volumes.state === "waiting") {
    const since = open.find(({ what }) => what === "volumes")?.startMs;
    const detail = memory.volumes.message === "" ? "they are being set up" : memory.volumes.message;
    waits.push({ on: "volumes", detail, ...(since === undefined ? {} : { sinceMs: since }) });
  }
  if (!memory.networkReady && pod.spec?.hostNetwork !== true && runtime.sandboxes.length === 0)
    waits.push({ on: "the Pod network", detail: "the runtime says that its network is not ready" });
  const failure = memory.sandboxFailure;
  if (failure !== undefined && failure.retryAtMs > nowMs)
    waits.push({ on: "the next try of the sandbox", detail: failure.message, untilMs: failure.retryAtMs });
  return waits;
}

function startWaits(input: ExplainInput): readonly Wait[] {
  const records = containerRecords(input.runtime.containers);
  const all = containersOf(input.pod);
  const waits: Wait[] = [];
  for (const spec of all) {
    const newest = records.get(spec.container.name)?.newest;
    waits.push(...containerWaits(spec, newest, input));
  }
  const holder = all.find(
    ({ kind, container }) => kind === "init" && !hasEndedWell(records.get(container.name)?.newest),
  );
  const apps = all.filter(({ kind, container }) => kind === "app" && !records.has(container.name));
  if (holder !== undefined && apps.length > 0 && records.has(holder.container.name)) {
    const names = apps.map(({ container }) => `"${container.name}"`).join(", ");
    const newest = records.get(holder.container.name)?.newest;
    waits.push({
      on: "an init container",
      container: holder.container.name,
      detail: `${names} ${apps.length === 1 ? "starts" : "start"} when it has ended well`,
      ...(newest?.state === "running" ? { sinceMs: newest.startedAtMs } : {}),
    });
  }
  return waits;
}

function hasEndedWell(newest: ContainerStatus | undefined): boolean {
  return newest?.state === "exited" && newest.exitCode === 0;
}

function containerWaits(
  { container, kind }: SpecContainer,
  newest: ContainerStatus | undefined,
  input: ExplainInput,
): readonly Wait[] {
  const { memory, nowMs, open, plan } = input;
  const { name } = container;
  if (newest?.state === "running") {
    if (memory.postStart.get(newest.id) === "running") {
      const hook = open.find((step) => step.what === "postStart hook" && step.container === name);
      const detail =
        "it is not shown as running, and containers after it do not start, until the hook has ended";
      return [
        {
          on: "the postStart hook",
          container: name,
          detail,
          ...(hook === undefined ? {} : { sinceMs: hook.startMs }),
        },
      ];
    }
    return kind === "app" || kind === "sidecar" ? probeWaits(name, newest, input) : [];
  }
  const backoffMs = plan.backingOff.get(name);
  if (newest?.state === "exited" && backoffMs !== undefined) {
    const detail = `${spanWords(backoffMs)} after it ended with exit code ${newest.exitCode}${newest.reason === "" ? "" : ` (${newest.reason})`}`;
    return [
      {
        on: "crash back-off",
        container: name,
        detail,
        sinceMs: newest.finishedAtMs,
        untilMs: restartAtMs(newest),
      },
    ];
  }
  const failure = memory.startFailures.get(name);
  if (failure !== undefined && failure.retryAtMs > nowMs) {
    const detail = `${failure.reason}: ${failure.message}`;
    return [{ on: "the next try to start", container: name, detail, untilMs: failure.retryAtMs }];
  }
  return imageWaits(name, container.image ?? "", input);
}

function imageWaits(name: string, image: string, { memory, nowMs, open, pulls }: ExplainInput): Wait[] {
  const state = memory.images.get(name);
  if (state?.state === "failed" && state.retryAtMs > nowMs) {
    const detail = state.message.startsWith("Back-off") ? state.message : `${state.reason}: ${state.message}`;
    const { failedAtMs, retryAtMs: untilMs } = state;
    const since = failedAtMs === undefined ? {} : { sinceMs: failedAtMs };
    return [{ on: "the next try of the image", container: name, detail, ...since, untilMs }];
  }
  if (state?.state !== "pulling") return [];
  const pull = pulls.get(image);
  const since = open.find((step) => step.what === "image pull" && step.container === name)?.startMs;
  const detail =
    pull === undefined
      ? `looking for "${image}"`
      : pull.sinceMs === undefined
        ? `the pull of "${image}" waits for its turn`
        : `pulling "${image}"${progressWords(pull.progress)}`;
  return [{ on: "the image", container: name, detail, ...(since === undefined ? {} : { sinceMs: since }) }];
}

function progressWords(progress: { readonly currentBytes: number; readonly totalBytes: number } | undefined) {
  if (progress === undefined || progress.totalBytes === 0) return "";
  const percent = Math.floor((progress.currentBytes / progress.totalBytes) * 100);
  const megabytes = (bytes: number): string => (bytes / 1_000_000).toFixed(1);
  return `, ${megabytes(progress.currentBytes)} of ${megabytes(progress.totalBytes)} MB (${percent} %)`;
}

function probeWaits(name: string, newest: ContainerStatus, { probes }: ExplainInput): readonly Wait[] {
  const all = probes.get(newest.id) ?? [];
  const startup = all.find(({ kind }) => kind === "startup");
  const open = startup !== undefined && startup.verdict !== "success" ? [startup] : all;
  return open
    .filter(({ kind, verdict }) => verdict !== "success" && kind !== "liveness")
    .map((probe) => ({
      on: `the ${probe.kind} probe`,
      container: name,
      detail: probeWords(probe),
      sinceMs: newest.startedAtMs,
    }));
}

/** How a probe stands, in words: `failed 2 times in a row, 3 make it a failure: connection refused`. */
export function probeWords(probe: ProbeStory): string {
  const { last, streak, failureThreshold, successThreshold, message } = probe;
  if (last === undefined) return "it has not been asked yet";
  const verb = last === "success" ? "succeeded" : "failed";
  const needed = last === "success" ? successThreshold : failureThreshold;
  const threshold = needed > 1 && streak < needed ? `, ${needed} count as one` : "";
  return `${verb} ${countWords(streak, "time")} in a row${threshold}${last === "failure" && message !== "" ? `: ${message.trim()}` : ""}`;
}

function resizeWaits(pod: Pod): readonly Wait[] {
  return (pod.status?.conditions ?? [])
    .filter(({ type, status }) => /^PodResize(Pending|InProgress)$/.test(type) && status === "True")
    .map(({ type, reason = "", message = "", lastTransitionTime }) => ({
      on: "the resize",
      detail: [type, reason, message].filter((word) => word !== "").join(": "),
      ...(lastTransitionTime === undefined ? {} : { sinceMs: Date.parse(lastTransitionTime) }),
    }));
}

function gateWaits(pod: Pod): readonly Wait[] {
  return (pod.spec?.readinessGates ?? [])
    .filter(
      ({ conditionType }) =>
        pod.status?.conditions?.find(({ type }) => type === conditionType)?.status !== "True",
    )
    .map(({ conditionType }) => ({
      on: "a readiness gate",
      detail: `somebody has to set the condition "${conditionType}" to True`,
    }));
}
