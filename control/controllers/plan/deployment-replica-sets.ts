import { createHash } from "node:crypto";
import type { Deployment, PodTemplateSpec, ReplicaSet } from "#api/generated/kubernetes.ts";
import { deployments } from "#api/resources.ts";
import { controllerReference } from "./owners.ts";
import { rollingLimits, wantedReplicas } from "./deployment-strategy.ts";
import { canonicalJson, isSameJson } from "./same.ts";
import { timeMs } from "./times.ts";

/** The label that keeps the pods of one template apart from those of the others. */
export const hashLabel = "pod-template-hash";
/** Number of the rollout; `kubectl rollout undo` names it. */
export const revisionAnnotation = "deployment.kubernetes.io/revision";
const historyAnnotation = "deployment.kubernetes.io/revision-history";
/** What the Deployment asked for when this ReplicaSet was last sized: a change of it is a scaling. */
export const desiredAnnotation = "deployment.kubernetes.io/desired-replicas";
const maxAnnotation = "deployment.kubernetes.io/max-replicas";
/** Annotations of a Deployment that its ReplicaSets do not take over. */
const notCopied = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionAnnotation,
  historyAnnotation,
  desiredAnnotation,
  maxAnnotation,
  "deprecated.deployment.rollback.to",
]);

/** Letters that Kubernetes uses in generated names: no vowels, nothing that looks like something else. */
const safeLetters = "bcdfghjklmnpqrstvwxz2456789";

/** Ten letters that differ when the template or the count of collisions does. */
export function templateHash(template: PodTemplateSpec, collisionCount: number): string {
  const digest = createHash("sha256")
    .update(`${canonicalJson(template)}\0${collisionCount}`)
    .digest();
  return [...digest.subarray(0, 10)].map((byte) => safeLetters[byte % safeLetters.length]).join("");
}

/** The ReplicaSet that has the Deployment's template; the oldest if, by accident, there are several. */
export function newReplicaSet(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = withoutHash(deployment.spec?.template);
  return byAge(sets).find((set) => isSameJson(withoutHash(set.spec?.template), wanted));
}

/** Oldest first; equal ages by name. */
export function byAge(sets: readonly ReplicaSet[]): readonly ReplicaSet[] {
  return sets.toSorted(
    (a, b) =>
      timeMs(a.metadata?.creationTimestamp) - timeMs(b.metadata?.creationTimestamp) ||
      ((a.metadata?.name ?? "") < (b.metadata?.name ?? "") ? -1 : 1),
  );
}

/** `deployment.kubernetes.io/revision` of an object; 0 when it has none. */
export function revisionOf(object: Deployment | ReplicaSet): number {
  return Number(object.metadata?.annotations?.[revisionAnnotation] ?? "0") || 0;
}

/** The ReplicaSet to create for the Deployment's template. */
export function buildReplicaSet(deployment: Deployment, replicas: number, revision: number): ReplicaSet {
  const template: PodTemplateSpec = deployment.spec?.template ?? {};
  const hash = templateHash(template, deployment.status?.collisionCount ?? 0);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  return {
    metadata: {
      name: `${deployment.metadata?.name}-${hash}`,
      namespace: deployment.metadata?.namespace ?? "",
      labels,
      annotations: setAnnotations(deployment, undefined, revision),
      ownerReferences: [controllerReference(deployments, deployment)],
    },
    spec: {
      replicas,
      ...(minReadySeconds === 0 ? {} : { minReadySeconds }),
      selector: {
        ...deployment.spec?.selector,
        matchLabels: { ...deployment.spec?.selector.matchLabels, [hashLabel]: hash },
      },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}

/** Annotations of the ReplicaSet that has the Deployment's template. */
export function setAnnotations(
  deployment: Deployment,
  set: ReplicaSet | undefined,
  revision: number,
): Readonly<Record<string, string>> {
  const before = set?.metadata?.annotations ?? {};
  const copied = Object.entries(deployment.metadata?.annotations ?? {}).filter(
    ([key]) => !notCopied.has(key),
  );
  const own = set === undefined ? 0 : revisionOf(set);
  const next = Math.max(own, revision);
  const history = [before[historyAnnotation] ?? "", own > 0 && own < next ? String(own) : ""]
    .filter((part) => part !== "")
    .join(",");
  return {
    ...before,
    ...Object.fromEntries(copied),
    ...sizeAnnotations(deployment),
    [revisionAnnotation]: String(next),
    ...(history === "" ? {} : { [historyAnnotation]: history }),
  };
}

/** What a ReplicaSet remembers of the Deployment's size. */
export function sizeAnnotations(deployment: Deployment): Readonly<Record<string, string>> {
  const replicas = wantedReplicas(deployment);
  return {
    [desiredAnnotation]: String(replicas),
    [maxAnnotation]: String(replicas + rollingLimits(deployment).maxSurge),
  };
}

/** The largest size the ReplicaSet's Deployment had when it was last sized. */
export function maxReplicasOf(set: ReplicaSet): number {
  return Number(set.metadata?.annotations?.[maxAnnotation] ?? "0") || 0;
}

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const { [hashLabel]: _, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels, creationTimestamp: undefined } };
}
