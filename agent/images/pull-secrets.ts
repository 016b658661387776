import type { Pod, Secret } from "#api/generated/kubernetes.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";

const waitMs = 5_000;
const lookMs = 100;

/**
 * The Pod's pull secrets. Those whose first read has not ended are waited for, a few seconds at most: without
 * them a pull would fail and back off. What is still missing then is said in an event, as the kubelet does.
 */
export async function pullSecrets(
  context: AgentContext,
  pod: Pod,
  signal: AbortSignal,
): Promise<readonly Secret[]> {
  const namespace = pod.metadata?.namespace ?? "";
  const { refs, clock } = context;
  const names = (pod.spec?.imagePullSecrets ?? []).flatMap(({ name = "" }) => (name === "" ? [] : [name]));
  const untilMs = clock.monotonicMs() + waitMs;
  const views = () => names.map((name) => ({ name, view: refs.secret(namespace, name) }));
  while (views().some(({ view }) => view.state === "loading") && clock.monotonicMs() < untilMs)
    await clock.sleep(lookMs, signal);
  const missing = views().flatMap(({ name, view }) => (view.state === "found" ? [] : [name]));
  if (missing.length > 0) {
    podEvent(
      context,
      pod,
      "Warning",
      "FailedToRetrieveImagePullSecret",
      `Unable to retrieve some image pull secrets (${missing.join(", ")}); attempting to pull the image may not succeed.`,
    );
  }
  return views().flatMap(({ view }) => (view.state === "found" ? [view.object] : []));
}
