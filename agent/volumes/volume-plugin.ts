import type { PersistentVolume, Pod, Volume } from "#api/generated/kubernetes.ts";
import type { DownwardFacts } from "../plan/downward.ts";
import type { SlowWalk } from "./fs-group.ts";

/** What a volume of a Pod is, once its claim has been followed. */
export type VolumeSource =
  | { readonly from: "pod"; readonly volume: Volume }
  | { readonly from: "claim"; readonly volume: PersistentVolume; readonly claim: ClaimOfPod };

/** The claim through which a Pod has a PersistentVolume. */
export interface ClaimOfPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** Where a volume of a Pod is on this node. It can be found again from the directories alone. */
export interface VolumePlace {
  readonly podUid: string;
  /** The directory's name: the PersistentVolume's when it came by a claim, else the volume's in the Pod. */
  readonly name: string;
  /** `<root>/pods/<uid>/volumes/<plugin>/<name>`; made by the plugin. */
  readonly directory: string;
  /** `<root>/pods/<uid>/volumeDevices/<plugin>/<name>`: where a block volume's device is shown. */
  readonly deviceFile: string;
}

/** One volume that a Pod wants. */
export interface VolumeRequest {
  readonly pod: Pod;
  /** Its name in the Pod. */
  readonly name: string;
  readonly source: VolumeSource;
  readonly place: VolumePlace;
  /** Whether the Pod uses it as a device (`volumeDevices`) instead of mounting it. */
  readonly isBlock: boolean;
  /** The Pod's reference to it says read-only. Single mounts may say so too; that is the runtime's. */
  readonly readOnly: boolean;
  readonly mountOptions: readonly string[];
  readonly fsGroup: number | undefined;
  readonly fsGroupPolicy: "Always" | "OnRootMismatch";
  /** Hears of giving the volume to its group when that takes long. */
  readonly slowGroup: SlowWalk;
  /** Says a warning of the Pod, as an event. */
  readonly warn: (reason: string, message: string) => void;
  /** Where the control plane attached it; "" when it was not attached or the control plane does not say. */
  readonly devicePath: string;
  /** What the downward API tells of the Pod and the node now. */
  readonly facts: DownwardFacts;
}

/** A volume that is ready for containers. */
export interface MountedVolume {
  /** The directory, file or device that containers get; "" for an image volume, which the runtime mounts. */
  readonly hostPath: string;
  /** Wall time at which it has to be set up again, such as for a new token. */
  readonly refreshAtMs?: number;
}

/** Bytes and inodes of a volume. A field is missing where the file system does not count it. */
export interface VolumeStats {
  readonly capacityBytes?: number;
  readonly availableBytes?: number;
  readonly usedBytes?: number;
  readonly inodes?: number;
  readonly inodesFree?: number;
  readonly inodesUsed?: number;
  /** Who counted: `du`, `statfs`, `block`, or the name of a CSI driver. */
  readonly source?: string;
  /** What its driver says of its health; missing where nobody does. */
  readonly condition?: { readonly abnormal: boolean; readonly message: string };
}

/** A PersistentVolume in use that has become larger. */
export interface GrowthRequest {
  /** As it is now. */
  readonly volume: PersistentVolume;
  readonly place: VolumePlace;
  readonly mounted: MountedVolume;
  readonly isBlock: boolean;
  /** What it is to hold. */
  readonly bytes: number;
}

/** One kind of volume. Every call is idempotent and may be cut off by its signal at any `await`. */
export interface VolumePlugin {
  /** `kubernetes.io/nfs`; its directories are called `kubernetes.io~nfs`. */
  readonly name: string;
  /** Content that changes: it is set up again at every look at the Pod. Others once, or when they said they are due. */
  readonly refreshes: boolean;
  serves(source: VolumeSource): boolean;
  /** A PersistentVolume of this kind that has mount options is refused. */
  readonly takesNoMountOptions?: true;
  /**
   * The name under which the control plane attaches it to this node before it can be set up, as in the Node's
   * `status.volumesAttached`; undefined when nothing attaches it. No such method: never.
   */
  attachedName?(request: VolumeRequest, signal: AbortSignal): Promise<string | undefined>;
  /** The same for a volume left by an earlier run of the agent; undefined when it cannot be told any more. */
  attachedNameAt?(place: VolumePlace): Promise<string | undefined>;
  /** @throws Error in the words of the FailedMount event; it is called again later. */
  setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume>;
  /** Undoes `setUp`, also of an earlier run of the agent and without the Pod's spec. Leaves no directory behind. */
  tearDown(place: VolumePlace, signal: AbortSignal): Promise<void>;
  /**
   * Brings what the Pods see to the new size. No such method: the node has no part in it.
   * @returns false when the node has no part in it for this volume.
   * @throws {InfeasibleGrowth} when it is refused for good; any other Error is tried again.
   */
  grow?(request: GrowthRequest, signal: AbortSignal): Promise<boolean>;
  /** No such method: what the kernel says of the directory or device. undefined where there is nothing to say. */
  stats?(place: VolumePlace, mounted: MountedVolume, signal: AbortSignal): Promise<VolumeStats | undefined>;
}

/** A step of setting up a volume failed that the kubelet's event names: `MountVolume.MountDevice`. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
  readonly operation: string;

  constructor(operation: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.operation = operation;
  }
}

/** A volume can never be made as large as it is asked to be; asking again is of no use. */
export class InfeasibleGrowth extends Error {
  override readonly name = "InfeasibleGrowth";
}

/** The name of the directories of a plugin: a slash cannot be in it. */
export function pluginDirectory(plugin: string): string {
  return plugin.replaceAll("/", "~");
}
