import type { Job, Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText, type Resource } from "#api/meta.ts";
import { pods as podsResource } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { finishedCondition, planJob, trackingFinalizer } from "./plan/job.ts";
import { buildJobPod } from "./plan/job-pod.ts";
import { asTarget, controllerOf } from "./plan/owners.ts";
import { slowStartBatch } from "./plan/replicas.ts";
import { isSameJson } from "./plan/same.ts";
import { podIndexes } from "./pod-indexes.ts";

/** Jobs, as the API has them. */
export const jobs: Resource<Job> = {
  group: "batch",
  version: "v1",
  plural: "jobs",
  kind: "Job",
  namespaced: true,
};

/** Runs the pods of every Job to completion. */
export function jobController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(jobs);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  table.subscribe((key) => queue.add(key));
  pods.table.subscribe((_, now, before) => {
    const pod = now ?? before;
    const owner = pod === undefined ? undefined : controllerOf(pod);
    if (owner?.kind === jobs.kind)
      queue.add(keyText({ namespace: pod?.metadata?.namespace ?? "", name: owner.name }));
    // A tracked pod whose Job is gone would wait for ever to be counted.
    if (now !== undefined && isTracked(now) && owner?.kind === jobs.kind) {
      const job = table.get(keyText({ namespace: now.metadata?.namespace ?? "", name: owner.name }));
      if (job?.metadata?.uid !== owner.uid) queue.add(`pod ${keyText(keyOf(now))}`);
    }
  });

  return {
    name: "job",
    queue,
    workers: 5,
    step: async (key, signal) => {
      if (key.startsWith("pod ")) return await releaseOrphan(key.slice(4), signal);
      const job = table.get(key);
      const namespace = key.slice(0, key.indexOf("/"));
      if (job === undefined || job.metadata?.deletionTimestamp !== undefined) {
        if (job !== undefined) for (const pod of owned(job)) await release(pod, signal);
        return;
      }
      const plan = planJob(job, owned(job), clock.now());
      if (plan.expired) {
        await client.delete(jobs, keyOf(job), { propagationPolicy: "Background" }, signal);
        table.deleting(job);
        return;
      }
      let current = job;
      if (!isSameJson({ ...zeros, ...job.status }, { ...zeros, ...plan.status })) {
        current = await client.update(
          jobs,
          { ...job, status: plan.status },
          { subresource: "status" },
          signal,
        );
        table.wrote(current);
        announce(job, current);
      }
      for (const pod of plan.release) await release(pod, signal);
      for (const pod of plan.remove) await remove(current, pod, signal);
      await create(current, namespace, plan.create, signal);
      if (plan.againInMs !== undefined) queue.addAfter(key, Math.max(1, plan.againInMs));
    },
  };

  function owned(job: Job): readonly Pod[] {
    return pods.byController.of(job.metadata?.uid ?? "");
  }

  function announce(before: Job, after: Job): void {
    const target = asTarget(jobs, after);
    const finished = finishedCondition(after.status);
    if (finishedCondition(before.status) === undefined && finished !== undefined) {
      if (finished.type === "Complete") events.event(target, "Normal", "Completed", "Job completed");
      else events.event(target, "Warning", finished.reason ?? "Failed", finished.message ?? "");
    }
    const suspended = (job: Job) => job.status?.conditions?.find(({ type }) => type === "Suspended")?.status;
    if (suspended(before) !== suspended(after)) {
      if (suspended(after) === "True") events.event(target, "Normal", "Suspended", "Job suspended");
      else if (suspended(before) === "True") events.event(target, "Normal", "Resumed", "Job resumed");
    }
  }

  async function create(
    job: Job,
    namespace: string,
    indexes: readonly (number | undefined)[],
    signal: AbortSignal,
  ): Promise<void> {
    for (let done = 0; done < indexes.length; ) {
      const size = slowStartBatch(done, indexes.length - done);
      const batch = indexes.slice(done, done + size);
      const results = await Promise.allSettled(
        batch.map((index) => client.create(podsResource, buildJobPod(jobs, job, index), {}, signal)),
      );
      for (const result of results) {
        if (result.status === "rejected") continue;
        pods.table.wrote(result.value);
        events.event(
          asTarget(jobs, job),
          "Normal",
          "SuccessfulCreate",
          `Created pod: ${result.value.metadata?.name}`,
        );
      }
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) {
        signal.throwIfAborted();
        const message = `Error creating: ${errorText(failed.reason)}`;
        events.event(asTarget(jobs, job), "Warning", "FailedCreate", message);
        throw new Error(`cannot create a pod of job "${job.metadata?.name}" in "${namespace}"`, {
          cause: failed.reason,
        });
      }
      done += size;
    }
  }

  async function remove(job: Job, pod: Pod, signal: AbortSignal): Promise<void> {
    await release(pod, signal);
    try {
      const uid = pod.metadata?.uid;
      await client.delete(podsResource, keyOf(pod), uid === undefined ? {} : { uid }, signal);
      events.event(asTarget(jobs, job), "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata?.name}`);
    } catch (cause) {
      if (!isReason(cause, "NotFound", "Conflict")) throw cause;
    }
    pods.table.deleting(pod);
  }

  async function releaseOrphan(key: string, signal: AbortSignal): Promise<void> {
    const pod = pods.table.get(key);
    const owner = pod === undefined ? undefined : controllerOf(pod);
    const jobKey = keyText({ namespace: pod?.metadata?.namespace ?? "", name: owner?.name ?? "" });
    if (pod !== undefined && table.get(jobKey)?.metadata?.uid !== owner?.uid) await release(pod, signal);
  }

  async function release(pod: Pod, signal: AbortSignal): Promise<void> {
    if (!isTracked(pod)) return;
    const finalizers = (pod.metadata?.finalizers ?? []).filter((each) => each !== trackingFinalizer);
    const { uid, resourceVersion } = pod.metadata ?? {};
    const metadata = { uid, resourceVersion, finalizers };
    try {
      const written = await client.patch(podsResource, keyOf(pod), "merge", { metadata }, {}, signal);
      // The last finalizer of a pod that is being deleted: it is gone, and the watch will say so.
      if (written.metadata?.deletionTimestamp === undefined || finalizers.length > 0)
        pods.table.wrote(written);
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }
}

function isTracked(pod: Pod): boolean {
  return pod.metadata?.finalizers?.includes(trackingFinalizer) === true;
}

/** Counts that are 0 are left out by servers written in Go. */
const zeros = { active: 0, ready: 0, terminating: 0, succeeded: 0, failed: 0 };
