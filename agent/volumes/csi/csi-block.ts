import { lstat, readlink, rm, rmdir, stat, symlink, unlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { unmount } from "#linux/libc.ts";
import { bindMount, mountAt } from "#linux/mount.ts";
import { removeUnmounted } from "../pod-directories.ts";
import type { MountedVolume } from "../volume-plugin.ts";
import { type CsiCall, callPublish, callStage, step } from "./csi-call.ts";
import type { LeavingVolume } from "./csi-files.ts";
import { nodeCapability } from "./csi-messages.ts";
import type { CsiPorts } from "./csi-ports.ts";
import { attachmentName, blockPaths, csiWords } from "./plan/csi-names.ts";
import type { StagedVolumes } from "./staged-volumes.ts";
import { removeVolData, saveVolData } from "./vol-data.ts";

/** Stages the volume where that has not been done, and publishes its device for the Pod. */
export async function mapDevice(
  call: CsiCall,
  staged: StagedVolumes,
  ports: CsiPorts,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const { request, volume, stages } = call;
  const { place } = request;
  const paths = blockPaths(ports.rootDir, place.name);
  const target = path.join(paths.publish, place.podUid);
  await makeFolder(paths.data, 0o750);
  await saveVolData(paths.data, {
    specVolID: place.name,
    volumeHandle: volume.handle,
    driverName: volume.driver,
    nodeName: ports.nodeName,
    attachmentID: attachmentName(volume.handle, volume.driver, ports.nodeName),
  });
  await makeFolder(path.dirname(place.deviceFile), 0o750);
  if ((await readlink(place.deviceFile).catch(() => undefined)) !== target) {
    await rm(place.deviceFile, { force: true });
    await symlink(target, place.deviceFile);
  }
  if (stages && !staged.has(volume)) {
    await step("MapVolume.SetUpDevice", "", async () => {
      await makeFolder(paths.staging, 0o750);
      await callStage(call, paths.staging, ports, signal);
    });
    staged.add(volume);
  }
  return await step("MapVolume.MapPodDevice", "", async () => {
    await makeFolder(paths.publish, 0o750);
    await callPublish(call, stages ? paths.staging : "", target, ports, signal);
    const found = await stat(target).catch(() => undefined);
    if (found?.isBlockDevice() !== true)
      throw new Error(
        csiWords(`blockMapper.MapPodDevice failed: the driver published no block device at "${target}"`),
      );
    await bindGlobally(target, path.join(paths.global, place.podUid));
    return { hostPath: target };
  });
}

/** Undoes {@link mapDevice}, all of it for the last Pod. */
export async function unmapDevice(
  { place, data, driver, isLast }: LeavingVolume,
  staged: StagedVolumes,
  { rootDir }: CsiPorts,
  signal: AbortSignal,
): Promise<void> {
  const paths = blockPaths(rootDir, place.name);
  const target = path.join(paths.publish, place.podUid);
  const bound = path.join(paths.global, place.podUid);
  if ((await mountAt(bound)) !== undefined) unmount(bound);
  await removeFile(bound);
  await driver.unpublish(data.volumeHandle, target, signal).catch((cause: unknown) => {
    throw new Error(csiWords(`blockMapper.UnmapPodDevice failed: ${errorText(cause)}`), { cause });
  });
  await removeFile(target);
  if (isLast) {
    staged.delete(data.driverName, data.volumeHandle);
    if (await driver.can(nodeCapability.stageUnstage, signal))
      await driver.unstage(data.volumeHandle, paths.staging, signal).catch((cause: unknown) => {
        throw new Error(csiWords(`blockMapper.TearDownDevice failed: ${errorText(cause)}`), { cause });
      });
    await removeUnmounted(paths.staging);
    await ifThere(rmdir(paths.publish));
    await ifThere(rmdir(paths.global));
    await removeVolData(paths.data);
    await ifThere(rmdir(paths.data));
    await ifThere(rmdir(path.dirname(paths.data)));
  }
  // Last: it is what another agent would go by.
  await ifThere(unlink(place.deviceFile));
}

/** The device at a second place: there the kubelet looks for it, should it follow us on this node. */
async function bindGlobally(device: string, bound: string): Promise<void> {
  if ((await mountAt(bound)) !== undefined) return;
  await makeFolder(path.dirname(bound), 0o750);
  await writeFile(bound, "", { flag: "a" });
  bindMount(device, bound);
}

/** What a driver left of its file; never a device that is still bound there. */
async function removeFile(target: string): Promise<void> {
  if ((await mountAt(target)) !== undefined) throw new Error(`"${target}" is still mounted`);
  const found = await lstat(target).catch(() => undefined);
  if (found === undefined) return;
  await (found.isDirectory() ? rmdir(target) : unlink(target));
}

async function ifThere(removal: Promise<void>): Promise<void> {
  await removal.catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}
