import { type AgentContext, podEvent } from "../agent-context.ts";
import { newestSandbox } from "../plan/container-records.ts";
import { volumeFaultMessages, volumeFaultReason, volumesLimitMs } from "../plan/volume-faults.ts";
import type { PodEntry } from "../pod-entry.ts";

/** Times until the next try: an object still being read, an attachment, any other fault. */
const againMs = { read: 1_000, attach: 1_000, fault: 5_000 } as const;

/**
 * Sets up the Pod's volumes, or brings them up to date, and says what is missing.
 * @returns whether they have become ready, so that the Pod has to be looked at again.
 */
export async function mountVolumes(
  context: AgentContext,
  entry: PodEntry,
  wakeAt: (uid: string, atMs: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { pod } = entry;
  const { node, volumes, clock } = context;
  const ips = pod.spec?.hostNetwork === true ? node.hostIps() : (newestSandbox(entry.runtime)?.ips ?? []);
  const now = clock.now();
  entry.volumesBegun ??= context.journals.of(entry.uid).begin("volumes", undefined, true);
  const outcome = await volumes.setUp(pod, node.facts(ips), signal);
  entry.volumesSinceMs ??= now;
  const isTimeUp = clock.now() - entry.volumesSinceMs >= volumesLimitMs;
  if (outcome !== undefined) entry.volumesRefreshAtMs = outcome.refreshAtMs;
  const faults = outcome?.faults ?? volumes.unfinished(pod);
  if (outcome === undefined && !isTimeUp) {
    wakeAt(entry.uid, clock.now() + againMs.fault); // it tells when it ends; this is for the limit
    return false;
  }
  if (faults.length === 0) {
    const isNew = entry.volumes.state !== "ready";
    entry.volumesBegun();
    entry.volumes = { state: "ready" };
    entry.volumesSinceMs = undefined;
    entry.said.delete("volumes");
    return isNew;
  }
  const isFirstLook = faults.every(({ message }) => message.endsWith("is still being read"));
  const messages = volumeFaultMessages(faults, isTimeUp);
  if (isTimeUp) {
    entry.volumesSinceMs = undefined;
    entry.said.delete("volumes");
  }
  if (!isFirstLook && entry.saysNew("volumes", messages.join("\n"))) {
    for (const message of messages) podEvent(context, pod, "Warning", volumeFaultReason(message), message);
  }
  // A Pod that runs keeps what it has; one that has not begun waits.
  if (entry.volumes.state !== "ready") entry.volumes = { state: "waiting", message: messages.join("; ") };
  const isAttaching = faults.every(({ stage }) => stage === "attach");
  wakeAt(
    entry.uid,
    clock.now() + (isFirstLook ? againMs.read : isAttaching ? againMs.attach : againMs.fault),
  );
  return false;
}
