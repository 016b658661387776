import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { keyOf } from "#api/meta.ts";
import { pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import type { AgentContext } from "../agent-context.ts";
import { annotation } from "../plan/names.ts";
import { mirrorPod } from "../plan/mirror-pod.ts";
import type { PodEntry } from "../pod-entry.ts";

/**
 * Makes sure that the API shows this static Pod as it is.
 * @param mirror what the API has under its name.
 * @returns the mirror to write the status to; undefined while an old one goes.
 */
export async function ensureMirror(
  context: AgentContext,
  entry: PodEntry,
  mirror: Pod | undefined,
  node: Node | undefined,
  signal: AbortSignal,
): Promise<Pod | undefined> {
  const { client } = context;
  if (client === undefined) return undefined;
  const hash = entry.pod.metadata?.annotations?.[annotation.sourceHash];
  if (mirror !== undefined) {
    const shows = mirror.metadata?.annotations?.[annotation.mirror];
    if (shows === undefined) return undefined; // a Pod of somebody else has the name
    if (shows === hash && mirror.metadata?.deletionTimestamp === undefined) return mirror;
    await deleteMirror(context, mirror, signal);
    return undefined; // the watch says when it is gone, and the Pod is looked at again
  }
  const uid = node?.metadata?.uid;
  try {
    return await client.create(
      pods,
      mirrorPod(entry.pod, uid === undefined ? undefined : { name: context.nodeName, uid }),
      {},
      signal,
    );
  } catch (cause) {
    if (isReason(cause, "AlreadyExists")) return undefined;
    throw cause;
  }
}

/** Takes a mirror away at once. */
export async function deleteMirror(
  { client }: AgentContext,
  mirror: Pod,
  signal: AbortSignal,
): Promise<void> {
  const uid = mirror.metadata?.uid;
  try {
    await client?.delete(
      pods,
      keyOf(mirror),
      { gracePeriodSeconds: 0, ...(uid === undefined ? {} : { uid }) },
      signal,
    );
  } catch (cause) {
    if (!isReason(cause, "NotFound", "Conflict")) throw cause;
  }
}
