import type { Container, Pod } from "#api/generated/kubernetes.ts";

/** Seconds a container may take to stop when its Pod has to go. Deletion's own wish comes first. */
export function podGraceSeconds(pod: Pod): number {
  const wished = pod.metadata?.deletionGracePeriodSeconds;
  const seconds = wished ?? pod.spec?.terminationGracePeriodSeconds ?? 30;
  return Math.max(1, seconds);
}

/** Seconds for a restart that a failed liveness or startup probe asks for. */
export function probeGraceSeconds(pod: Pod, container: Container, probe: "liveness" | "startup"): number {
  const own = probe === "liveness" ? container.livenessProbe : container.startupProbe;
  return Math.max(1, own?.terminationGracePeriodSeconds ?? podGraceSeconds(pod));
}
