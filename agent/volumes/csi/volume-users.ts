import { lstat } from "node:fs/promises";
import { placesOf, podDirectories } from "../pod-directories.ts";
import type { VolumePlace } from "../volume-plugin.ts";
import { blockPaths, csiPluginName } from "./plan/csi-names.ts";
import { readVolData, type VolData } from "./vol-data.ts";

/** The volume that a Pod's place stands for. */
export interface PlaceData extends VolData {
  readonly isBlock: boolean;
}

/** @returns undefined when no driver can have been called for it. */
export async function dataOfPlace(rootDir: string, place: VolumePlace): Promise<PlaceData | undefined> {
  const files = await readVolData(place.directory);
  if (files !== undefined) return { ...files, isBlock: false };
  if ((await lstat(place.deviceFile).catch(() => undefined)) === undefined) return undefined;
  const device = await readVolData(blockPaths(rootDir, place.name).data);
  return device && { ...device, isBlock: true };
}

/** The places of Pods that have a volume of a driver. One whose data makes no sense is nobody's. */
export async function volumeUsers(
  rootDir: string,
  driver: string,
  handle: string,
): Promise<readonly VolumePlace[]> {
  const users: VolumePlace[] = [];
  for (const uid of await podDirectories(rootDir)) {
    for (const { plugin, place } of await placesOf(rootDir, uid)) {
      if (plugin !== csiPluginName) continue;
      const data = await dataOfPlace(rootDir, place).catch(() => undefined);
      if (data?.driverName === driver && data.volumeHandle === handle) users.push(place);
    }
  }
  return users;
}
