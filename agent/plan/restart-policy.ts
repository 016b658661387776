import type { Container, ContainerRestartRule, Pod } from "#api/generated/kubernetes.ts";
import type { ContainerKind, PodMemory } from "../model.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import type { SpecContainer } from "./containers-of.ts";

/** The action of a rule by which the end of one container makes all of the Pod's run anew (KEP-5532). */
const restartAll = "RestartAllContainers";

/** Whether a container that ended with this code is started again. */
export function shouldRestart(
  pod: Pod,
  container: Container,
  kind: ContainerKind,
  exitCode: number,
): boolean {
  if (kind === "sidecar") return true;
  if (kind === "ephemeral") return false;
  const action = matchingRule(container, exitCode)?.action;
  if (action === "Restart" || action === restartAll) return true;
  const policy = container.restartPolicy ?? pod.spec?.restartPolicy ?? "Always";
  // An init container that ended well is finished whatever the policy says.
  if (kind === "init") return exitCode !== 0 && policy !== "Never";
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** Whether a container that ended is started again: by its exit code, or because the agent ended it for that. */
export function comesBack(
  pod: Pod,
  { container, kind }: SpecContainer,
  ended: Pick<ContainerStatus, "id" | "exitCode">,
  { replaced }: Pick<PodMemory, "replaced">,
): boolean {
  const policy = container.restartPolicy ?? pod.spec?.restartPolicy ?? "Always";
  return (
    (replaced.has(ended.id) && policy !== "Never" && kind !== "ephemeral") ||
    shouldRestart(pod, container, kind, ended.exitCode)
  );
}

/** Whether a container that ended with this code makes every container of its Pod run anew. */
export function restartsAll(container: Container, exitCode: number): boolean {
  return matchingRule(container, exitCode)?.action === restartAll;
}

/** Whether the end of any container of this Pod could make all of them run anew. */
export function mayRestartAll(pod: Pod): boolean {
  const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  return all.some(({ restartPolicyRules = [] }) =>
    restartPolicyRules.some(({ action }) => action === restartAll),
  );
}

/** The first rule that names the exit code decides (KEP-5307). */
function matchingRule(container: Container, exitCode: number): ContainerRestartRule | undefined {
  return container.restartPolicyRules?.find(({ exitCodes }) => {
    if (exitCodes === undefined) return false;
    const named = exitCodes.values?.includes(exitCode) === true;
    return exitCodes.operator === "NotIn" ? !named : named;
  });
}
