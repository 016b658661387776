import { createHash } from "node:crypto";
import type { Pod } from "#api/generated/kubernetes.ts";
import { wrongInPod } from "./manifest-shape.ts";
import { annotation } from "./names.ts";

/** Why a manifest makes no static Pod. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
}

/** Where a manifest was found: a file's path, or a URL. */
export interface ManifestSource {
  readonly kind: "file" | "http";
  readonly place: string;
}

/** The Pods of a `PodList` or `List`, or the one thing that the document is. */
export function manifestsOf(document: unknown): readonly unknown[] {
  if (typeof document !== "object" || document === null || !("items" in document)) return [document];
  if (!("kind" in document) || (document.kind !== "PodList" && document.kind !== "List")) return [document];
  if (!Array.isArray(document.items)) throw new ManifestError("cannot run the list: its items are no list");
  // The items of a typed list may leave their kind out.
  const items: readonly unknown[] = document.items;
  return items.map((item) => (typeof item === "object" ? { kind: "Pod", apiVersion: "v1", ...item } : item));
}

/**
 * A static Pod from a parsed manifest: named after the node, with a uid that changes whenever the manifest does.
 * @throws {ManifestError} for anything but one Pod, or a Pod that refers to objects of the API.
 */
export function staticPod(written: unknown, from: ManifestSource, nodeName: string, seenMs: number): Pod {
  const file = from.place;
  const manifest = withoutNulls(written);
  if (!isPod(manifest)) throw new ManifestError(`cannot run "${file}": it is not a v1 Pod`);
  const wrong = wrongInPod(manifest);
  if (wrong !== undefined) throw new ManifestError(`cannot run "${file}": ${wrong}`);
  const name = manifest.metadata?.name ?? "";
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name))
    throw new ManifestError(`cannot run "${file}": metadata.name "${name}" is not a DNS-1123 name`);
  if (!Array.isArray(manifest.spec?.containers) || manifest.spec.containers.length === 0)
    throw new ManifestError(`cannot run "${file}": spec.containers is missing`);
  const refused = apiReference(manifest);
  if (refused !== undefined)
    throw new ManifestError(`cannot run "${file}": static pods may not reference ${refused}`);
  const namespace = manifest.metadata?.namespace ?? "default";
  const hash = createHash("md5")
    .update(JSON.stringify([written, nodeName, file]))
    .digest("hex");
  const given = manifest.metadata?.uid;
  return {
    ...manifest,
    metadata: {
      ...manifest.metadata,
      name: `${name}-${nodeName}`,
      namespace,
      uid: given !== undefined && given !== "" ? given : hash,
      annotations: {
        ...manifest.metadata?.annotations,
        [annotation.source]: from.kind,
        [annotation.sourceHash]: hash,
        [annotation.sourceSeen]: new Date(seenMs).toISOString(),
      },
    },
    spec: {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      schedulerName: "default-scheduler",
      securityContext: {},
      enableServiceLinks: true,
      ...manifest.spec,
      nodeName,
      tolerations: [...(manifest.spec.tolerations ?? []), { effect: "NoExecute", operator: "Exists" }],
    },
  };
}

/** A field that is null is one that is absent, as the API reads it. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutNulls(field)]));
}

function apiReference(pod: Pod): string | undefined {
  const { spec } = pod;
  if ((spec?.serviceAccountName ?? "") !== "") return "serviceaccounts";
  if ((spec?.resourceClaims ?? []).length > 0) return "resourceclaims";
  for (const volume of spec?.volumes ?? []) {
    if (volume.configMap !== undefined) return "configmaps";
    if (volume.secret !== undefined) return "secrets";
    if (volume.persistentVolumeClaim !== undefined) return "persistentvolumeclaims";
    for (const source of volume.projected?.sources ?? []) {
      if (source.configMap !== undefined) return "configmaps";
      if (source.secret !== undefined) return "secrets";
      if (source.serviceAccountToken !== undefined) return "serviceaccounts";
    }
  }
  for (const container of [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]) {
    for (const source of container.envFrom ?? []) {
      if (source.configMapRef !== undefined) return "configmaps";
      if (source.secretRef !== undefined) return "secrets";
    }
    for (const variable of container.env ?? []) {
      if (variable.valueFrom?.configMapKeyRef !== undefined) return "configmaps";
      if (variable.valueFrom?.secretKeyRef !== undefined) return "secrets";
    }
  }
  return undefined;
}

function isPod(value: unknown): value is Pod & { readonly spec: NonNullable<Pod["spec"]> } {
  return (
    typeof value === "object" &&
    value !== null &&
    "kind" in value &&
    value.kind === "Pod" &&
    "spec" in value &&
    typeof value.spec === "object" &&
    value.spec !== null
  );
}
