import type { Pod, PodSpec, Volume } from "#api/generated/kubernetes.ts";

/** Kinds that a node may read when one of its Pods refers to them. */
export type ReferredKind = "secrets" | "configmaps" | "persistentvolumeclaims" | "serviceaccounts" | "pods";

/** `secrets/ns/name`. */
export function referenceKey(kind: ReferredKind, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

/** Everything a Pod needs its node to read, the Pod itself and its ServiceAccount included; each once. */
export function podReferences(pod: Pod): readonly string[] {
  const namespace = pod.metadata?.namespace ?? "";
  const spec = pod.spec;
  const found = new Set([referenceKey("pods", namespace, pod.metadata?.name ?? "")]);
  if (spec === undefined) return [...found];
  const add = (kind: ReferredKind, name: string | undefined): void => {
    if (name !== undefined && name !== "") found.add(referenceKey(kind, namespace, name));
  };
  add("serviceaccounts", spec.serviceAccountName);
  for (const secret of spec.imagePullSecrets ?? []) add("secrets", secret.name);
  for (const container of containersOf(spec)) {
    for (const source of container.envFrom ?? []) {
      add("configmaps", source.configMapRef?.name);
      add("secrets", source.secretRef?.name);
    }
    for (const variable of container.env ?? []) {
      add("configmaps", variable.valueFrom?.configMapKeyRef?.name);
      add("secrets", variable.valueFrom?.secretKeyRef?.name);
    }
  }
  for (const volume of spec.volumes ?? []) {
    for (const [kind, name] of volumeReferences(volume, pod.metadata?.name ?? "")) add(kind, name);
  }
  return [...found];
}

type Named = readonly [ReferredKind, string | undefined];

function volumeReferences(volume: Volume, podName: string): readonly Named[] {
  return [
    ["secrets", volume.secret?.secretName],
    ["configmaps", volume.configMap?.name],
    ["persistentvolumeclaims", volume.persistentVolumeClaim?.claimName],
    // The claim of an ephemeral volume is named after the Pod and the volume.
    ["persistentvolumeclaims", volume.ephemeral === undefined ? undefined : `${podName}-${volume.name}`],
    ["secrets", volume.csi?.nodePublishSecretRef?.name],
    ["secrets", volume.cephfs?.secretRef?.name],
    ["secrets", volume.rbd?.secretRef?.name],
    ["secrets", volume.iscsi?.secretRef?.name],
    ["secrets", volume.flexVolume?.secretRef?.name],
    ["secrets", volume.azureFile?.secretName],
    ...(volume.projected?.sources ?? []).flatMap((source): readonly Named[] => [
      ["secrets", source.secret?.name],
      ["configmaps", source.configMap?.name],
    ]),
  ];
}

function containersOf(spec: PodSpec): readonly Pick<PodSpec["containers"][number], "env" | "envFrom">[] {
  return [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
}
