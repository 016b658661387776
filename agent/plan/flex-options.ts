import type { FlexPersistentVolumeSource, FlexVolumeSource, Pod } from "#api/generated/kubernetes.ts";

/** What a FlexVolume driver is told besides the directory: its own options, and the kubelet's. */
export function flexOptions(
  source: FlexVolumeSource | FlexPersistentVolumeSource,
  volume: {
    readonly pod: Pod;
    /** The PersistentVolume's name, else the volume's in the Pod. */
    readonly name: string;
    readonly readOnly: boolean;
    readonly fsGroup: number | undefined;
    readonly secrets: ReadonlyMap<string, string>;
  },
): Readonly<Record<string, string>> {
  const { name = "", namespace = "", uid = "" } = volume.pod.metadata ?? {};
  const isReadOnly = source.readOnly === true || volume.readOnly;
  const secrets = [...volume.secrets].map(
    ([key, value]) => [`kubernetes.io/secret/${key}`, Buffer.from(value, "utf8").toString("base64")] as const,
  );
  return {
    "kubernetes.io/fsType": source.fsType ?? "",
    "kubernetes.io/readwrite": isReadOnly ? "ro" : "rw",
    "kubernetes.io/pvOrVolumeName": volume.name,
    "kubernetes.io/pod.name": name,
    "kubernetes.io/pod.namespace": namespace,
    "kubernetes.io/pod.uid": uid,
    "kubernetes.io/serviceAccount.name": volume.pod.spec?.serviceAccountName ?? "",
    ...(volume.fsGroup === undefined ? {} : { "kubernetes.io/mounterArgs.FsGroup": String(volume.fsGroup) }),
    ...Object.fromEntries(secrets),
    ...source.options,
  };
}

/** How a driver answers a call: one JSON object on standard output. */
export interface FlexAnswer {
  readonly status: "Success" | "Failure" | "Not supported";
  readonly message: string;
  /** What it can do, by name; every one that it does not name it has. */
  readonly capabilities: ReadonlyMap<string, boolean>;
}

/** @throws Error for what is no answer. */
export function parseFlexAnswer(text: string): FlexAnswer {
  const value = jsonOf(text);
  if (value === undefined) throw new Error(`it said no JSON: ${text.trim().slice(0, 200)}`);
  const fields = new Map(Object.entries(typeof value === "object" && value !== null ? value : {}));
  const status: unknown = fields.get("status");
  if (status !== "Success" && status !== "Failure" && status !== "Not supported")
    throw new Error(`it answered without a status: ${text.trim().slice(0, 200)}`);
  const { message, capabilities } = Object.fromEntries(fields) as Readonly<Record<string, unknown>>;
  const can = Object.entries(typeof capabilities === "object" && capabilities !== null ? capabilities : {});
  return {
    status,
    message: typeof message === "string" ? message : "",
    capabilities: new Map(can.map(([key, has]) => [key, has !== false])),
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
