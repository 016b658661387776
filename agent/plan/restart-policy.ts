import type { Container, Pod } from "#api/generated/kubernetes.ts";
import type { ContainerKind } from "../model.ts";

/** Whether a container that ended with this code is started again. */
export function shouldRestart(
  pod: Pod,
  container: Container,
  kind: ContainerKind,
  exitCode: number,
): boolean {
  if (kind === "sidecar") return true;
  if (kind === "ephemeral") return false;
  for (const rule of container.restartPolicyRules ?? []) {
    const values = rule.exitCodes?.values ?? [];
    const hit = rule.exitCodes?.operator === "NotIn" ? !values.includes(exitCode) : values.includes(exitCode);
    if (hit && rule.exitCodes !== undefined && rule.action === "Restart") return true;
  }
  const policy = container.restartPolicy ?? pod.spec?.restartPolicy ?? "Always";
  // An init container that ended well is finished whatever the policy says.
  if (kind === "init") return exitCode !== 0 && policy !== "Never";
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}
