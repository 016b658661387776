import type { Deployment } from "#api/generated/kubernetes.ts";

/** How many pods a rolling update may add and may miss, both absolute. */
export interface RollingLimits {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

/** Reads counts or percents: surge rounds up, unavailable down, and both 0 would stop the rollout for ever. */
export function rollingLimits(deployment: Deployment): RollingLimits {
  const replicas = wantedReplicas(deployment);
  if (isRecreate(deployment)) return { maxSurge: 0, maxUnavailable: 0 };
  const rolling = deployment.spec?.strategy?.rollingUpdate;
  const maxSurge = scaled(rolling?.maxSurge ?? "25%", replicas, Math.ceil);
  const maxUnavailable = Math.min(replicas, scaled(rolling?.maxUnavailable ?? "25%", replicas, Math.floor));
  return maxSurge === 0 && maxUnavailable === 0
    ? { maxSurge, maxUnavailable: Math.min(1, replicas) }
    : { maxSurge, maxUnavailable };
}

/** `spec.replicas`, 1 unless given. */
export function wantedReplicas(deployment: Deployment): number {
  return deployment.spec?.replicas ?? 1;
}

export function isRecreate(deployment: Deployment): boolean {
  return deployment.spec?.strategy?.type === "Recreate";
}

function scaled(value: number | string, total: number, round: (share: number) => number): number {
  if (typeof value === "number") return value;
  const percent = /^(\d+)%$/.exec(value)?.[1];
  return percent === undefined ? Number.parseInt(value, 10) || 0 : round((Number(percent) * total) / 100);
}
