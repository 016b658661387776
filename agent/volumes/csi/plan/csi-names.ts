import { createHash } from "node:crypto";
import path from "node:path";

/** The name of the plugin; its directories are called `kubernetes.io~csi`. */
export const csiPluginName = "kubernetes.io/csi";

/** What the kubelet puts before its own words about CSI. */
export function csiWords(message: string): string {
  return `${csiPluginName}: ${message}`;
}

/** The VolumeAttachment of a volume to a node. */
export function attachmentName(handle: string, driver: string, nodeName: string): string {
  return `csi-${sha256(`${handle}${driver}${nodeName}`)}`;
}

/** The handle of a volume that is written in the Pod itself. */
export function ephemeralHandle(podUid: string, volume: string): string {
  return `csi-${sha256(`${podUid}${volume}`)}`;
}

/** The name of an attached volume in the Node's status. */
export function attachedVolumeName(driver: string, handle: string): string {
  return `${csiPluginName}/${driver}^${handle}`;
}

/** Where a volume of files is staged; `vol_data.json` is beside it. */
export function globalMountPath(rootDir: string, driver: string, handle: string): string {
  return path.join(rootDir, "plugins", csiPluginName, driver, sha256(handle), "globalmount");
}

/** Where a block volume is on this node, by its PersistentVolume's name. */
export interface BlockPaths {
  /** `vol_data.json` is in it. */
  readonly data: string;
  /** Each Pod's device is bound in it, by its uid: how the kubelet finds it again. */
  readonly global: string;
  readonly staging: string;
  /** The Pods' files are in it, by their uids. */
  readonly publish: string;
}

export function blockPaths(rootDir: string, volume: string): BlockPaths {
  const top = path.join(rootDir, "plugins", csiPluginName, "volumeDevices");
  return {
    data: path.join(top, volume, "data"),
    global: path.join(top, volume, "dev"),
    staging: path.join(top, "staging", volume),
    publish: path.join(top, "publish", volume),
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
