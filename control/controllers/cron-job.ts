import type { CronJob, CronJobStatus, Job } from "#api/generated/kubernetes.ts";
import { keyOf, keyText, type Resource } from "#api/meta.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { jobs } from "./job.ts";
import { type CronSchedule, missedTime, nextTime, parseCron } from "./plan/cron-schedule.ts";
import { finishedCondition } from "./plan/job.ts";
import { asTarget, controllerOf, controllerReference } from "./plan/owners.ts";
import { isSameJson } from "./plan/same.ts";
import { isoTime, timeMs } from "./plan/times.ts";

/** CronJobs, as the API has them. */
export const cronJobs: Resource<CronJob> = {
  group: "batch",
  version: "v1",
  plural: "cronjobs",
  kind: "CronJob",
  namespaced: true,
};

/** Starts the Jobs of every CronJob at their times. */
export function cronJobController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(cronJobs);
  const jobTable = tables.of(jobs);
  const jobsOf = jobTable.index("by-controller", (job) => {
    const owner = controllerOf(job);
    return owner === undefined ? [] : [owner.uid];
  });
  const queue = controllerQueue(clock);
  table.subscribe((key) => queue.add(key));
  jobTable.subscribe((_, now, before) => {
    const job = now ?? before;
    const owner = job === undefined ? undefined : controllerOf(job);
    if (owner?.kind === cronJobs.kind)
      queue.add(keyText({ namespace: job?.metadata?.namespace ?? "", name: owner.name }));
  });

  return {
    name: "cronjob",
    queue,
    workers: 2,
    step: async (key, signal) => {
      const cron = table.get(key);
      if (cron === undefined || cron.metadata?.deletionTimestamp !== undefined) return;
      await pruneHistory(cron, signal);
      let lastScheduleTime = cron.status?.lastScheduleTime;
      const schedule = scheduleOf(cron);
      if (schedule !== undefined && cron.spec?.suspend !== true) {
        lastScheduleTime = (await startDue(cron, schedule, signal)) ?? lastScheduleTime;
        const next = nextTime(schedule, clock.now(), cron.spec?.timeZone);
        if (next !== undefined) queue.addAfter(key, Math.min(next - clock.now() + 50, 2 ** 31 - 1));
      }
      await writeStatus(cron, lastScheduleTime, signal);
    },
  };

  function scheduleOf(cron: CronJob): CronSchedule | undefined {
    try {
      return parseCron(cron.spec?.schedule ?? "");
    } catch (cause) {
      const message = `unparseable schedule: ${errorText(cause)}`;
      events.event(asTarget(cronJobs, cron), "Warning", "UnparseableSchedule", message);
      return undefined;
    }
  }

  /** @returns the moment that was due, when it was taken care of. */
  async function startDue(
    cron: CronJob,
    schedule: CronSchedule,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const target = asTarget(cronJobs, cron);
    const now = clock.now();
    const deadlineMs = (cron.spec?.startingDeadlineSeconds ?? Number.POSITIVE_INFINITY) * 1_000;
    const last = timeMs(cron.status?.lastScheduleTime) || timeMs(cron.metadata?.creationTimestamp);
    const { at, tooMany } = missedTime(schedule, Math.max(last, now - deadlineMs), now, cron.spec?.timeZone);
    if (tooMany) {
      const message =
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
      events.event(target, "Warning", "TooManyMissedTimes", message);
    }
    if (at === undefined) return undefined;
    const active = activeJobs(cron);
    if (active.length > 0 && cron.spec?.concurrencyPolicy === "Forbid") {
      const message = "Not starting job because prior execution is running and concurrency policy is Forbid";
      events.event(target, "Normal", "JobAlreadyActive", message);
      return undefined;
    }
    if (cron.spec?.concurrencyPolicy === "Replace") for (const job of active) await remove(cron, job, signal);
    const template = cron.spec?.jobTemplate;
    const { name = "", namespace = "" } = cron.metadata ?? {};
    const job: Job = {
      metadata: {
        ...template?.metadata,
        // The moment in the name: a second try after a lost answer finds the Job there.
        name: `${name}-${Math.floor(at / 60_000)}`,
        namespace,
        annotations: {
          ...template?.metadata?.annotations,
          "batch.kubernetes.io/cronjob-scheduled-timestamp": isoTime(at),
        },
        ownerReferences: [controllerReference(cronJobs, cron)],
      },
      ...(template?.spec === undefined ? {} : { spec: template.spec }),
    };
    try {
      jobTable.wrote(await client.create(jobs, job, {}, signal));
      events.event(target, "Normal", "SuccessfulCreate", `Created job ${job.metadata?.name}`);
    } catch (cause) {
      if (!isReason(cause, "AlreadyExists")) {
        events.event(target, "Warning", "FailedCreate", `Error creating job: ${errorText(cause)}`);
        throw cause;
      }
    }
    return isoTime(at);
  }

  function activeJobs(cron: CronJob): readonly Job[] {
    return jobsOf
      .of(cron.metadata?.uid ?? "")
      .filter(
        (job) => finishedCondition(job.status) === undefined && job.metadata?.deletionTimestamp === undefined,
      )
      .toSorted((a, b) => timeMs(a.metadata?.creationTimestamp) - timeMs(b.metadata?.creationTimestamp));
  }

  async function pruneHistory(cron: CronJob, signal: AbortSignal): Promise<void> {
    const limits = [
      ["Complete", cron.spec?.successfulJobsHistoryLimit ?? 3],
      ["Failed", cron.spec?.failedJobsHistoryLimit ?? 1],
    ] as const;
    for (const [type, limit] of limits) {
      const ended = jobsOf
        .of(cron.metadata?.uid ?? "")
        .filter(
          (job) =>
            finishedCondition(job.status)?.type === type && job.metadata?.deletionTimestamp === undefined,
        )
        .toSorted((a, b) => timeMs(a.status?.startTime) - timeMs(b.status?.startTime));
      for (const job of ended.slice(0, Math.max(0, ended.length - limit))) await remove(cron, job, signal);
    }
  }

  async function remove(cron: CronJob, job: Job, signal: AbortSignal): Promise<void> {
    try {
      await client.delete(jobs, keyOf(job), { propagationPolicy: "Background" }, signal);
      events.event(
        asTarget(cronJobs, cron),
        "Normal",
        "SuccessfulDelete",
        `Deleted job ${job.metadata?.name}`,
      );
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
    jobTable.deleting(job);
  }

  async function writeStatus(
    cron: CronJob,
    lastScheduleTime: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const target = asTarget(cronJobs, cron);
    const active = activeJobs(cron).map(({ metadata }) => ({
      apiVersion: "batch/v1",
      kind: "Job",
      namespace: metadata?.namespace ?? "",
      name: metadata?.name ?? "",
      uid: metadata?.uid ?? "",
    }));
    const owned = jobsOf.of(cron.metadata?.uid ?? "");
    for (const before of cron.status?.active ?? []) {
      const finished = finishedCondition(owned.find(({ metadata }) => metadata?.uid === before.uid)?.status);
      if (finished === undefined) continue;
      const message = `Saw completed job: ${before.name}, condition: ${finished.type}`;
      events.event(target, "Normal", "SawCompletedJob", message);
    }
    const succeeded = owned.map(({ status }) => timeMs(status?.completionTime));
    const latest = Math.max(timeMs(cron.status?.lastSuccessfulTime), ...succeeded);
    const status: CronJobStatus = {
      active,
      ...(lastScheduleTime === undefined ? {} : { lastScheduleTime }),
      ...(latest === 0 ? {} : { lastSuccessfulTime: isoTime(latest) }),
    };
    if (isSameJson({ active: [], ...cron.status }, status)) return;
    table.wrote(await client.update(cronJobs, { ...cron, status }, { subresource: "status" }, signal));
  }
}
