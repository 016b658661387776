import type { Container, PodSpec, Volume } from "#api/generated/kubernetes.ts";

/** Where every container finds its token, the cluster's CA and its namespace. */
export const accountMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
const volumePrefix = "kube-api-access-";

/** The volume with the token (asked for 3607 s, renewed by the node), the CA and the namespace. */
export function accountVolume(name: string): Volume {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: 3_607, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
          },
        },
      ],
    },
  };
}

/**
 * Gives every container the account's volume, unless it mounts something of its own there.
 * @param suffix five characters that make the volume's name unlike any other.
 */
export function mountAccount(spec: PodSpec, suffix: string): PodSpec {
  const kept = spec.volumes?.find((volume) => volume.name.startsWith(volumePrefix));
  const name = kept?.name ?? volumePrefix + suffix;
  let used = false;
  const mount = (container: Container): Container => {
    const mounts = container.volumeMounts ?? [];
    if (mounts.some((one) => one.mountPath === accountMountPath)) return container;
    used = true;
    return { ...container, volumeMounts: [...mounts, { name, readOnly: true, mountPath: accountMountPath }] };
  };
  const containers = spec.containers.map(mount);
  const initContainers = spec.initContainers?.map(mount);
  const volumes = [...(spec.volumes ?? []), ...(used && kept === undefined ? [accountVolume(name)] : [])];
  return {
    ...spec,
    containers,
    ...(initContainers === undefined ? {} : { initContainers }),
    ...(volumes.length === 0 ? {} : { volumes }),
  };
}
