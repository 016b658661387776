import path from "node:path";
import { errorText } from "#lib/log.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import { logDirectoryOf } from "../apply/create-sandbox.ts";
import { diskUse } from "../observe/disk-use.ts";
import { containerRecords } from "../plan/container-records.ts";
import { storageVerdict, storageWatch, type StorageWatch, type StorageUse } from "../plan/local-storage.ts";
import { mustStop } from "../plan/pod-actions.ts";
import type { PodEntry } from "../pod-entry.ts";
import { memoryOf } from "../sync-pod.ts";

/** Between two looks, as the kubelet's. */
const everyMs = 10_000;

/**
 * Turns out Pods that have written more to the node's disk than their volumes' or containers' limits allow. Only Pods
 * with such a limit are measured, one after the other.
 */
export async function limitLocalStorage(
  context: AgentContext,
  entries: () => Iterable<PodEntry>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await context.clock.sleep(everyMs, signal).catch(() => undefined);
    for (const entry of entries()) {
      if (signal.aborted) return;
      await limitOne(context, entry, signal).catch((cause: unknown) => {
        if (!signal.aborted)
          context.log.warn("cannot tell what a pod has on the disk", {
            uid: entry.uid,
            cause: errorText(cause),
          });
      });
    }
  }
}

async function limitOne(context: AgentContext, entry: PodEntry, signal: AbortSignal): Promise<void> {
  const isIdle = entry.source === "orphan" || !entry.admitted || entry.runtime.sandboxes.length === 0;
  if (isIdle || mustStop(entry.withStatus(), memoryOf(context, entry))) return;
  const watch = storageWatch(entry.pod);
  if (watch === undefined) return;
  const verdict = storageVerdict(entry.pod, await measure(context, entry, watch, signal));
  // It may have been judged, or have begun to end, while it was measured.
  if (verdict === undefined || mustStop(entry.withStatus(), memoryOf(context, entry))) return;
  entry.verdict = verdict;
  entry.terminatingSinceMs ??= context.clock.now();
  podEvent(context, entry.pod, "Warning", verdict.reason, verdict.message);
  context.markDirty(entry.uid);
}

/** What cannot be measured counts as nothing: nobody is turned out for it. */
async function measure(
  context: AgentContext,
  entry: PodEntry,
  watch: StorageWatch,
  signal: AbortSignal,
): Promise<StorageUse> {
  const volumes = new Map<string, number>();
  const known = context.volumes.of(entry.uid);
  for (const name of watch.volumes) {
    const directory = known.get(name)?.mounted.hostPath;
    if (directory !== undefined) volumes.set(name, (await diskUse(directory, signal)) ?? 0);
  }
  const containers = new Map<string, number>();
  const records = containerRecords(entry.runtime.containers);
  for (const name of watch.containers) {
    const logs = await diskUse(path.join(logDirectoryOf(context, entry), name), signal);
    const newest = records.get(name)?.newest;
    const layer =
      newest === undefined
        ? undefined
        : await context.runtime.writableLayerBytes(newest.id, signal).catch(() => {
            signal.throwIfAborted();
            return undefined;
          });
    containers.set(name, (logs ?? 0) + (layer ?? 0));
  }
  return { volumes, containers };
}
