import type { VolumeStats } from "../../volume-plugin.ts";
import type { CsiStats } from "../csi-driver.ts";

/**
 * A driver's answer as the numbers of any volume; of several for one unit the last counts, as with the kubelet.
 * @param tellsCondition the driver has promised that its word on the volume's health means something.
 */
export function volumeStats({ usage, condition }: CsiStats, tellsCondition: boolean): VolumeStats {
  const bytes = usage.findLast(({ unit }) => unit === "bytes");
  const inodes = usage.findLast(({ unit }) => unit === "inodes");
  return {
    ...(bytes === undefined
      ? {}
      : { capacityBytes: bytes.total, availableBytes: bytes.available, usedBytes: bytes.used }),
    ...(inodes === undefined
      ? {}
      : { inodes: inodes.total, inodesFree: inodes.available, inodesUsed: inodes.used }),
    ...(tellsCondition && condition !== undefined ? { condition } : {}),
  };
}
