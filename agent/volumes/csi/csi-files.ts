import { rmdir } from "node:fs/promises";
import path from "node:path";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { mountAt } from "#linux/mount.ts";
import { applyFsGroup } from "../fs-group.ts";
import type { MountedVolume, VolumePlace } from "../volume-plugin.ts";
import { type CsiCall, callPublish, callStage, step } from "./csi-call.ts";
import { type CsiDriver, isFinal } from "./csi-driver.ts";
import { nodeCapability } from "./csi-messages.ts";
import type { CsiPorts } from "./csi-ports.ts";
import { attachmentName, csiWords, globalMountPath } from "./plan/csi-names.ts";
import { appliesFsGroup } from "./plan/csi-volume.ts";
import type { StagedVolumes } from "./staged-volumes.ts";
import { removeVolData, saveVolData } from "./vol-data.ts";
import type { PlaceData } from "./volume-users.ts";

/** Time between two calls of `NodePublishVolume` for a driver that asks for them: the kubelet's sync of a Pod. */
const republishMs = 60_000;

/** A place whose volume goes. */
export interface LeavingVolume {
  readonly place: VolumePlace;
  readonly data: PlaceData;
  readonly driver: CsiDriver;
  /** No other Pod of this node has the volume. */
  readonly isLast: boolean;
}

/** Stages the volume where that has not been done, and publishes it for the Pod as a directory. */
export async function mountFiles(
  call: CsiCall,
  staged: StagedVolumes,
  ports: CsiPorts,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const { request, volume, object, capabilities, stages } = call;
  const { place, fsGroup, fsGroupPolicy, slowGroup: slow } = request;
  await makeFolder(place.directory, 0o750);
  await saveVolData(place.directory, {
    specVolID: place.name,
    volumeHandle: volume.handle,
    driverName: volume.driver,
    nodeName: ports.nodeName,
    volumeLifecycleMode: volume.lifecycle,
    attachmentID: attachmentName(volume.handle, volume.driver, ports.nodeName),
    ...labelData(call),
  });
  if (volume.lifecycle === "Persistent" && !staged.has(volume)) {
    await step("MountVolume.MountDevice", "", () => stageFiles(call, ports, signal));
    staged.add(volume);
  }
  const target = path.join(place.directory, "mount");
  const staging = stages ? globalMountPath(ports.rootDir, volume.driver, volume.handle) : "";
  await callPublish(call, staging, target, ports, signal).catch(async (cause: unknown) => {
    if (isFinal(cause)) await removeTarget(target).catch(() => undefined);
    throw cause;
  });
  const delegates = capabilities.has(nodeCapability.volumeMountGroup);
  if (fsGroup !== undefined && !delegates && appliesFsGroup(volume, object))
    await step("MountVolume.SetUp", `applyFSGroup failed for vol ${volume.handle}: `, () =>
      applyFsGroup(target, { group: fsGroup, policy: fsGroupPolicy, readOnly: false, slow }, signal),
    );
  const isRepublished = object?.spec.requiresRepublish === true;
  return {
    hostPath: target,
    ...(isRepublished ? { refreshAtMs: ports.clock.now() + republishMs } : {}),
  };
}

/** Undoes {@link mountFiles}, all of it for the last Pod. */
export async function unmountFiles(
  { place, data, driver, isLast }: LeavingVolume,
  staged: StagedVolumes,
  { rootDir }: CsiPorts,
  signal: AbortSignal,
): Promise<void> {
  const target = path.join(place.directory, "mount");
  const { driverName, volumeHandle } = data;
  const failed = (cause: unknown): never => {
    throw new Error(csiWords(`Unmounter.TearDownAt failed: ${errorText(cause)}`), { cause });
  };
  await driver.unpublish(volumeHandle, target, signal).catch(failed);
  await removeTarget(target).catch((cause: unknown) => {
    const words = `Unmounter.TearDownAt failed to clean mount dir [${target}]`;
    throw new Error(csiWords(`${words}: ${errorText(cause)}`), { cause });
  });
  if (isLast && data.volumeLifecycleMode !== "Ephemeral") {
    staged.delete(driverName, volumeHandle);
    const global = globalMountPath(rootDir, driverName, volumeHandle);
    if (await driver.can(nodeCapability.stageUnstage, signal))
      await driver.unstage(volumeHandle, global, signal);
    await removeGlobal(global);
  }
  // Last: it is what another agent would go by.
  await removeVolData(place.directory);
  await rmdir(place.directory);
}

async function stageFiles(call: CsiCall, ports: CsiPorts, signal: AbortSignal): Promise<void> {
  const { volume, stages } = call;
  const global = globalMountPath(ports.rootDir, volume.driver, volume.handle);
  await makeFolder(global, 0o750);
  const { driver: driverName, handle: volumeHandle } = volume;
  await saveVolData(path.dirname(global), { driverName, volumeHandle, ...labelData(call) });
  if (!stages) return;
  await callStage(call, global, ports, signal).catch(async (cause: unknown) => {
    if (isFinal(cause)) await removeGlobal(global).catch(() => undefined);
    throw cause;
  });
}

function labelData({ label }: CsiCall): { readonly seLinuxMountContext?: string } {
  return label === undefined ? {} : { seLinuxMountContext: label };
}

async function removeGlobal(global: string): Promise<void> {
  await removeTarget(global);
  const directory = path.dirname(global);
  await removeVolData(directory);
  await rmdirIfThere(directory);
}

/** Removes a directory that a driver has unmounted; never what is in it. */
async function removeTarget(target: string): Promise<void> {
  if ((await mountAt(target)) !== undefined) throw new Error(`"${target}" is still mounted`);
  await rmdirIfThere(target);
}

async function rmdirIfThere(directory: string): Promise<void> {
  await rmdir(directory).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}
