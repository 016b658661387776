import type { PersistentVolumeClaim, Pod, PodTemplateSpec, StatefulSet } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import { revisionHashLabel } from "./daemon-set.ts";
import { controllerReference } from "./owners.ts";

/** The pod of this ordinal: a name, a host name and volumes that it keeps for good. */
export function buildStatefulPod(
  resource: Resource<StatefulSet>,
  set: StatefulSet,
  template: PodTemplateSpec,
  ordinal: number,
  revision: string,
): Pod {
  const { name: setName = "", namespace = "" } = set.metadata ?? {};
  const name = `${setName}-${ordinal}`;
  const metadata = {
    ...template.metadata,
    name,
    namespace,
    labels: {
      ...template.metadata?.labels,
      [revisionHashLabel]: revision,
      "statefulset.kubernetes.io/pod-name": name,
      "apps.kubernetes.io/pod-index": String(ordinal),
    },
    ownerReferences: [controllerReference(resource, set)],
  };
  if (template.spec === undefined) return { metadata };
  const claims = set.spec?.volumeClaimTemplates ?? [];
  const claimed = claims.map((claim) => ({
    name: claim.metadata?.name ?? "",
    persistentVolumeClaim: { claimName: claimName(claim, name) },
  }));
  const others = (template.spec.volumes ?? []).filter(
    (volume) => !claimed.some((each) => each.name === volume.name),
  );
  const volumes = [...claimed, ...others];
  const subdomain = set.spec?.serviceName ?? "";
  return {
    metadata,
    spec: {
      ...template.spec,
      hostname: name,
      ...(subdomain === "" ? {} : { subdomain }),
      ...(volumes.length === 0 ? {} : { volumes }),
    },
  };
}

/** The claims of one pod; they outlive it. */
export function buildClaims(set: StatefulSet, ordinal: number): readonly PersistentVolumeClaim[] {
  const { name = "", namespace = "" } = set.metadata ?? {};
  return (set.spec?.volumeClaimTemplates ?? []).map((claim) => ({
    metadata: {
      ...claim.metadata,
      name: claimName(claim, `${name}-${ordinal}`),
      namespace,
      labels: { ...claim.metadata?.labels, ...set.spec?.selector.matchLabels },
    },
    ...(claim.spec === undefined ? {} : { spec: claim.spec }),
  }));
}

function claimName(claim: PersistentVolumeClaim, pod: string): string {
  return `${claim.metadata?.name}-${pod}`;
}
