import path from "node:path";
import type {
  ClusterTrustBundleProjection,
  ConfigMap,
  KeyToPath,
  Pod,
  Secret,
  Volume,
  VolumeProjection,
} from "#api/generated/kubernetes.ts";
import { noBundles } from "./trust-anchors.ts";
import { type DownwardFacts, podField, resourceField } from "./downward.ts";

/** One file of a volume that the agent writes. */
export interface VolumeFile {
  readonly data: Uint8Array;
  readonly mode: number;
  /** The user that it belongs to; root unless given. */
  readonly owner?: number;
}

/** Relative path -> file. */
export type VolumeFiles = ReadonlyMap<string, VolumeFile>;

/** What is known about an object that a volume refers to. */
export type ObjectView<T> =
  | { readonly state: "loading"; readonly why: string }
  | { readonly state: "absent" }
  | { readonly state: "found"; readonly object: T };

/** Where the content of volumes comes from. */
export interface VolumeSources {
  configMap(name: string): ObjectView<ConfigMap>;
  secret(name: string): ObjectView<Secret>;
  /** The token for this projection, requested before. */
  token(audience: string, expirationSeconds: number): string;
  /** The certificates that this projection selects, in PEM. */
  trustBundle(projection: ClusterTrustBundleProjection): ObjectView<string>;
  readonly facts: DownwardFacts;
}

/** The content cannot be made now; the message is what the FailedMount event says. */
export class VolumeContentError extends Error {
  override readonly name = "VolumeContentError";
}

/** Shortest and usual life of a service account token, in seconds. */
export const tokenSeconds = { shortest: 600, usual: 3_607 } as const;

/** The files of a configMap, secret, downwardAPI or projected volume; undefined for every other kind. */
export function volumeFiles(pod: Pod, volume: Volume, sources: VolumeSources): VolumeFiles | undefined {
  const files = new Map<string, VolumeFile>();
  if (volume.configMap !== undefined) {
    const { name = "", items, defaultMode = 0o644, optional = false } = volume.configMap;
    addConfigMap(files, sources.configMap(name), { name, items, mode: defaultMode, optional });
    return files;
  }
  if (volume.secret !== undefined) {
    const { secretName: name = "", items, defaultMode = 0o644, optional = false } = volume.secret;
    addSecret(files, sources.secret(name), { name, items, mode: defaultMode, optional });
    return files;
  }
  if (volume.downwardAPI !== undefined) {
    const { items = [], defaultMode = 0o644 } = volume.downwardAPI;
    addDownward(files, pod, items, defaultMode, sources);
    return files;
  }
  if (volume.projected !== undefined) {
    const mode = volume.projected.defaultMode ?? 0o644;
    for (const source of volume.projected.sources ?? []) addProjection(files, pod, source, mode, sources);
    return files;
  }
  return undefined;
}

/** Names of the objects that a Pod's volumes and variables refer to. */
export function objectRefs(pod: Pod): {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
} {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  const add = (set: Set<string>, name: string | undefined): void => {
    if (name !== undefined && name !== "") set.add(name);
  };
  for (const volume of pod.spec?.volumes ?? []) {
    add(configMaps, volume.configMap?.name);
    add(secrets, volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      add(configMaps, source.configMap?.name);
      add(secrets, source.secret?.name);
    }
  }
  for (const secret of pod.spec?.imagePullSecrets ?? []) add(secrets, secret.name);
  for (const container of [
    ...(pod.spec?.initContainers ?? []),
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.ephemeralContainers ?? []),
  ]) {
    for (const source of container.envFrom ?? []) {
      add(configMaps, source.configMapRef?.name);
      add(secrets, source.secretRef?.name);
    }
    for (const variable of container.env ?? []) {
      add(configMaps, variable.valueFrom?.configMapKeyRef?.name);
      add(secrets, variable.valueFrom?.secretKeyRef?.name);
    }
  }
  return { configMaps, secrets };
}

interface Wanted {
  readonly name: string;
  readonly items: readonly KeyToPath[] | undefined;
  readonly mode: number;
  readonly optional: boolean;
}

function addConfigMap(files: Map<string, VolumeFile>, view: ObjectView<ConfigMap>, wanted: Wanted): void {
  const object = found(view, "configmap", wanted);
  const entries = new Map<string, Uint8Array>([
    ...Object.entries(object?.data ?? {}).map(([key, text]) => [key, Buffer.from(text, "utf8")] as const),
    ...Object.entries(object?.binaryData ?? {}).map(
      ([key, text]) => [key, Buffer.from(text, "base64")] as const,
    ),
  ]);
  addEntries(files, entries, wanted, object !== undefined, "configmap");
}

function addSecret(files: Map<string, VolumeFile>, view: ObjectView<Secret>, wanted: Wanted): void {
  const object = found(view, "secret", wanted);
  const entries = new Map(
    Object.entries(object?.data ?? {}).map(([key, text]) => [key, Buffer.from(text, "base64")] as const),
  );
  addEntries(files, entries, wanted, object !== undefined, "secret");
}

function found<T>(view: ObjectView<T>, kind: string, wanted: Wanted): T | undefined {
  switch (view.state) {
    case "found":
      return view.object;
    case "loading":
      throw new VolumeContentError(view.why);
    case "absent":
      if (wanted.optional) return undefined;
      throw new VolumeContentError(`${kind} "${wanted.name}" not found`);
    default:
      return view satisfies never;
  }
}

function addEntries(
  files: Map<string, VolumeFile>,
  entries: ReadonlyMap<string, Uint8Array>,
  { items, mode, optional }: Wanted,
  exists: boolean,
  kind: string,
): void {
  if (items === undefined || items.length === 0) {
    for (const [key, data] of entries) files.set(key, { data, mode });
    return;
  }
  for (const item of items) {
    const data = entries.get(item.key);
    if (data === undefined) {
      if (optional || !exists) continue;
      throw new VolumeContentError(
        `${kind} references non-existent ${kind === "secret" ? "secret" : "config"} key: ${item.key}`,
      );
    }
    files.set(checked(item.path), { data, mode: item.mode ?? mode });
  }
}

function addDownward(
  files: Map<string, VolumeFile>,
  pod: Pod,
  items: NonNullable<Volume["downwardAPI"]>["items"],
  mode: number,
  sources: VolumeSources,
): void {
  for (const item of items ?? []) {
    let text = "";
    try {
      if (item.fieldRef !== undefined) text = podField(pod, item.fieldRef.fieldPath, sources.facts);
      else if (item.resourceFieldRef !== undefined)
        text = resourceField(pod, item.resourceFieldRef, undefined, sources.facts);
    } catch (cause) {
      throw new VolumeContentError(cause instanceof Error ? cause.message : String(cause), { cause });
    }
    files.set(checked(item.path), { data: Buffer.from(text, "utf8"), mode: item.mode ?? mode });
  }
}

function addProjection(
  files: Map<string, VolumeFile>,
  pod: Pod,
  source: VolumeProjection,
  mode: number,
  sources: VolumeSources,
): void {
  if (source.configMap !== undefined) {
    const { name = "", items, optional = false } = source.configMap;
    addConfigMap(files, sources.configMap(name), { name, items, mode, optional });
  }
  if (source.secret !== undefined) {
    const { name = "", items, optional = false } = source.secret;
    addSecret(files, sources.secret(name), { name, items, mode, optional });
  }
  if (source.downwardAPI !== undefined) addDownward(files, pod, source.downwardAPI.items, mode, sources);
  if (source.serviceAccountToken !== undefined) {
    const { audience = "", expirationSeconds = tokenSeconds.usual, path: file } = source.serviceAccountToken;
    files.set(checked(file), {
      data: Buffer.from(sources.token(audience, expirationSeconds)),
      ...ownRights(pod, mode),
    });
  }
  if (source.clusterTrustBundle !== undefined) {
    const { path: file } = source.clusterTrustBundle;
    const text = trustBundle(source.clusterTrustBundle, sources);
    files.set(checked(file), { data: Buffer.from(text, "utf8"), ...ownRights(pod, mode) });
  }
  if (source.podCertificate !== undefined)
    throw new VolumeContentError("projected source podCertificate is not supported by this node");
}

function trustBundle(projection: ClusterTrustBundleProjection, sources: VolumeSources): string {
  const view = sources.trustBundle(projection);
  switch (view.state) {
    case "found":
      return view.object;
    case "loading":
      throw new VolumeContentError(view.why);
    case "absent":
      if (projection.optional === true) return "";
      throw new VolumeContentError(noBundles(projection));
    default:
      return view satisfies never;
  }
}

/** Only the Pod's user may read what is the Pod's own where there is one such user, and its group where there is one. */
function ownRights(pod: Pod, mode: number): Pick<VolumeFile, "mode" | "owner"> {
  const owner = tokenOwner(pod);
  const isOwn = owner !== undefined || pod.spec?.securityContext?.fsGroup !== undefined;
  return { mode: isOwn ? 0o600 : mode, ...(owner === undefined ? {} : { owner }) };
}

/** The user that every container of the Pod runs as; undefined when they differ or none is named. */
function tokenOwner(pod: Pod): number | undefined {
  const shared = pod.spec?.securityContext?.runAsUser;
  const users = new Set(
    [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].map(
      (container) => container.securityContext?.runAsUser ?? shared,
    ),
  );
  return users.size === 1 ? users.values().next().value : undefined;
}

function checked(file: string): string {
  const normal = path.posix.normalize(file);
  if (
    file === "" ||
    path.posix.isAbsolute(file) ||
    normal.split("/").includes("..") ||
    normal.startsWith("..")
  ) {
    throw new VolumeContentError(`invalid path: ${file}`);
  }
  return normal;
}
