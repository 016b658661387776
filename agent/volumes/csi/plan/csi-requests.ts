import type { CSIDriver, Pod } from "#api/generated/kubernetes.ts";
import { accessMode, nodeCapability, type VolumeCapability } from "../csi-messages.ts";
import type { CsiVolume } from "./csi-volume.ts";

/** A service account's token for one audience of a driver. */
export interface DriverToken {
  readonly audience: string;
  readonly token: string;
  readonly expiresAtMs: number;
}

const tokensKey = "csi.storage.k8s.io/serviceAccount.tokens";

/**
 * How a volume is used, as a driver understands it.
 * @param capabilities the driver's on this node.
 * @param fsGroup the Pod's; told to drivers that give the files to it themselves.
 */
export function volumeCapability(
  volume: CsiVolume,
  isBlock: boolean,
  capabilities: ReadonlySet<number>,
  fsGroup: number | undefined,
): VolumeCapability {
  const mode = csiAccessMode(
    volume.accessModes[0] ?? "ReadWriteOnce",
    capabilities.has(nodeCapability.singleNodeMultiWriter),
  );
  if (isBlock) return { block: {}, accessMode: { mode } };
  const delegates = fsGroup !== undefined && capabilities.has(nodeCapability.volumeMountGroup);
  return {
    mount: {
      fsType: volume.fsType,
      mountFlags: volume.mountOptions,
      volumeMountGroup: delegates ? String(fsGroup) : "",
    },
    accessMode: { mode },
  };
}

/** What a driver is told of the Pod that gets the volume, when its object asks for it. */
export function podContext(
  pod: Pod,
  { lifecycle }: CsiVolume,
  object: CSIDriver | undefined,
): Readonly<Record<string, string>> {
  if (object?.spec.podInfoOnMount !== true) return {};
  const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
  return {
    "csi.storage.k8s.io/pod.name": name,
    "csi.storage.k8s.io/pod.namespace": namespace,
    "csi.storage.k8s.io/pod.uid": uid,
    "csi.storage.k8s.io/serviceAccount.name": pod.spec?.serviceAccountName ?? "",
    "csi.storage.k8s.io/ephemeral": String(lifecycle === "Ephemeral"),
  };
}

/**
 * The tokens that a driver asked for, where it wants them: as context, or as a secret (KEP-5538).
 * @returns additions to the two maps of the call.
 */
export function tokenParameters(
  tokens: readonly DriverToken[],
  object: CSIDriver | undefined,
): {
  readonly context: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
} {
  if (tokens.length === 0) return { context: {}, secrets: {} };
  const text = JSON.stringify(
    Object.fromEntries(
      tokens
        .toSorted((one, other) => (one.audience < other.audience ? -1 : 1))
        .map(({ audience, token, expiresAtMs }) => [
          audience,
          { token, expirationTimestamp: new Date(expiresAtMs).toISOString().replace(/\.\d+Z$/, "Z") },
        ]),
    ),
  );
  return object?.spec.serviceAccountTokenInSecrets === true
    ? { context: {}, secrets: { [tokensKey]: text } }
    : { context: { [tokensKey]: text }, secrets: {} };
}

/** @param tellsWriters the driver tells one writer on a node from several (SINGLE_NODE_MULTI_WRITER). */
function csiAccessMode(mode: string, tellsWriters: boolean): number {
  switch (mode) {
    case "ReadWriteOnce":
      return tellsWriters ? accessMode.singleNodeMultiWriter : accessMode.singleNodeWriter;
    case "ReadWriteOncePod":
      return tellsWriters ? accessMode.singleNodeSingleWriter : accessMode.singleNodeWriter;
    case "ReadOnlyMany":
      return accessMode.multiNodeReaderOnly;
    case "ReadWriteMany":
      return accessMode.multiNodeMultiWriter;
    default:
      return accessMode.unknown;
  }
}
