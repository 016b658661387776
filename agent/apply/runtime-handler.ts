import type { Pod } from "#api/generated/kubernetes.ts";
import { runtimeClasses } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import type { ObjectReader } from "../last-known/object-reader.ts";

/**
 * The runtime handler of the Pod's RuntimeClass.
 * @param reader undefined on a node without an API.
 * @returns "" for the runtime's usual handler, when the Pod names no class.
 * @throws Error in the kubelet's words when the class cannot be had: a Pod that asked to be shut in by another
 *   runtime never runs in the usual one instead.
 */
export async function runtimeHandler(
  reader: ObjectReader | undefined,
  pod: Pod,
  signal: AbortSignal,
): Promise<string> {
  const name = pod.spec?.runtimeClassName ?? "";
  if (name === "") return "";
  if (reader === undefined) throw new Error(`RuntimeClass "${name}" cannot be read without an API server`);
  try {
    return (await reader.get(runtimeClasses, { namespace: "", name }, signal)).handler;
  } catch (cause) {
    signal.throwIfAborted();
    if (isReason(cause, "NotFound"))
      throw new Error(`runtimeclass.node.k8s.io "${name}" not found`, { cause });
    throw new Error(`failed to lookup RuntimeClass ${name}: ${errorText(cause)}`, { cause });
  }
}
