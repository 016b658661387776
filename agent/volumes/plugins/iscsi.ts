import { mkdir, readdir, readlink, realpath, rmdir, stat, symlink, unlink } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ISCSIPersistentVolumeSource, ISCSIVolumeSource } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isWithin, mountAt, readMounts } from "#linux/mount.ts";
import { type Ended, ProgramError, runProgram } from "#linux/run-program.ts";
import {
  type ChapSecrets,
  discoveryCalls,
  interfaceCalls,
  type IscsiCall,
  type IscsiDisk,
  iscsiDisk,
  iscsiDiskName,
  iscsiLink,
  loginCalls,
  logoutCalls,
  parseDiskName,
  sessionPortals,
} from "../../plan/iscsi.ts";
import { KeyedLock } from "../csi/keyed-lock.ts";
import { formatAndMount } from "../format-and-mount.ts";
import { applyFsGroup } from "../fs-group.ts";
import { mountByProgram, unmountByProgram } from "../mount-program.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

const callMs = 120_000;
const mountMs = 120_000;
/** As long as the kubelet waits for a disk after the login. */
const deviceMs = 10_000;
const lookMs = 100;

/** What iSCSI volumes stand on. */
export interface IscsiPorts {
  /** The agent's root directory. */
  readonly rootDir: string;
  /** Names and passwords for CHAP. */
  readonly secret: (namespace: string, name: string, signal: AbortSignal) => Promise<ChapSecrets>;
  /** Where udev links disks by their path; `/dev/disk/by-path`. */
  readonly links: string;
}

/**
 * Disks of an iSCSI target. The node's open-iscsi (`iscsiadm`, with `iscsid` running) finds and logs in to the target;
 * the disk is mounted once for all Pods, and the session ends with its last user.
 */
export class IscsiPlugin implements VolumePlugin {
  readonly name = "kubernetes.io/iscsi";
  readonly refreshes = false;
  readonly #ports: IscsiPorts;
  /** By target: a session serves all its disks. */
  readonly #turns = new KeyedLock();

  constructor(ports: IscsiPorts) {
    this.#ports = ports;
  }

  serves(source: VolumeSource): boolean {
    return iscsiOf(source) !== undefined;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const source = iscsiOf(request.source);
    if (source === undefined) throw new Error(`volume "${request.name}" is not iSCSI`);
    const disk = iscsiDisk(source, request.place.name);
    return await this.#turns.run(disk.iqn, () => this.#setUp(disk, source, request, signal), signal);
  }

  async tearDown(place: VolumePlace, signal: AbortSignal): Promise<void> {
    const device = (await mountAt(place.directory))?.device;
    const shared = device === undefined ? [] : await this.#mountsOf(device);
    const link = await readlink(place.deviceFile).catch(() => "");
    const target = parseDiskName(link) ?? shared.map(parseDiskName).find((one) => one !== undefined);
    const work = async (): Promise<void> => {
      await takeDown(place.directory, signal);
      await gone(unlink(place.deviceFile));
      for (const mount of shared) await this.#release(mount, signal);
      if (target !== undefined) await this.#logout(target.iqn, signal);
    };
    await this.#turns.run(target?.iqn ?? place.directory, work, signal);
  }

  async #setUp(
    disk: IscsiDisk,
    source: ISCSIVolumeSource | ISCSIPersistentVolumeSource,
    request: VolumeRequest,
    signal: AbortSignal,
  ): Promise<MountedVolume> {
    const { place, isBlock, readOnly, mountOptions, fsGroup, fsGroupPolicy, slowGroup } = request;
    const { directory, deviceFile } = place;
    if (!isBlock && (await mountAt(directory)) !== undefined) return { hostPath: directory };
    const secrets = await this.#secrets(source, request, signal);
    const link = await this.#login(disk, secrets, signal);
    const device = await multipathOf(await realpath(link));
    if (isBlock) {
      await mkdir(path.dirname(deviceFile), { recursive: true, mode: 0o750 });
      await gone(unlink(deviceFile));
      await symlink(link, deviceFile);
      return { hostPath: device };
    }
    const shared = path.join(this.#folder(), iscsiDiskName(disk));
    await makeFolder(shared, 0o750);
    const isReadOnly = disk.readOnly || readOnly;
    const options = [...mountOptions, ...(disk.readOnly ? ["ro"] : [])];
    if ((await mountAt(shared)) === undefined)
      await formatAndMount({ device, target: shared, fsType: disk.fsType, options }, signal);
    await makeFolder(directory, 0o750);
    const bind = ["bind", ...(isReadOnly ? ["ro"] : []), ...mountOptions];
    await mountByProgram({ source: shared, target: directory, type: "", options: bind }, mountMs, signal);
    if (fsGroup !== undefined && !isReadOnly) {
      try {
        await applyFsGroup(
          directory,
          { group: fsGroup, policy: fsGroupPolicy, readOnly: false, slow: slowGroup },
          signal,
        );
      } catch (cause) {
        await unmountByProgram(directory, mountMs, AbortSignal.timeout(mountMs));
        throw cause;
      }
    }
    return { hostPath: directory };
  }

  /** Logs in at every portal; one that answers is enough. @returns udev's link to the disk. */
  async #login(disk: IscsiDisk, secrets: ChapSecrets, signal: AbortSignal): Promise<string> {
    if (disk.initiator !== "") {
      const shown = await run(["-m", "iface", "-I", disk.basedOn, "-o", "show"], signal);
      for (const call of interfaceCalls(disk, shown.output)) await run(call, signal, [alreadyThere]);
    }
    const faults: string[] = [];
    let found: string | undefined;
    for (const portal of disk.portals) {
      try {
        for (const call of discoveryCalls(portal, disk, secrets)) await run(call, signal);
        for (const call of loginCalls(portal, disk, secrets)) await run(call, signal, [alreadyThere]);
        found ??= await this.#link(portal, disk, signal);
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof ProgramError && cause.code === "missing")
          throw new Error("iscsiadm is not on this node: install open-iscsi or iscsi-initiator-utils", {
            cause,
          });
        faults.push(errorText(cause));
      }
    }
    if (found === undefined)
      throw new Error(`failed to get any path for iscsi disk, last err seen:\n${faults.at(-1) ?? ""}`);
    return found;
  }

  async #link(portal: string, disk: IscsiDisk, signal: AbortSignal): Promise<string> {
    const link = path.join(this.#ports.links, iscsiLink(portal, disk));
    for (
      const end = performance.now() + deviceMs;
      performance.now() < end;
      await delay(lookMs, undefined, { signal })
    )
      if (await isThere(link)) return link;
    throw new Error(`Could not attach disk: Timeout after ${deviceMs / 1_000}s, waiting for ${link}`);
  }

  async #secrets(
    source: ISCSIVolumeSource | ISCSIPersistentVolumeSource,
    request: VolumeRequest,
    signal: AbortSignal,
  ): Promise<ChapSecrets> {
    const { secretRef, chapAuthDiscovery, chapAuthSession } = source;
    if (chapAuthDiscovery !== true && chapAuthSession !== true) return new Map();
    if (secretRef?.name === undefined) throw new Error("CHAP enabled but secret name is empty");
    // A Pod's own volume has its Secret beside it; a PersistentVolume says where.
    const own = request.pod.metadata?.namespace ?? "";
    const { source: from } = request;
    const named = from.from === "claim" ? from.volume.spec?.iscsi?.secretRef?.namespace : undefined;
    const namespace = named ?? own;
    return await this.#ports.secret(namespace, secretRef.name, signal);
  }

  /** Unmounts a disk that no Pod has any more. */
  async #release(shared: string, signal: AbortSignal): Promise<void> {
    const disk = await mountAt(shared);
    const pods = path.join(await realpath(this.#ports.rootDir), "pods");
    const isUsed = (await readMounts()).some(
      ({ device, point }) => device === disk?.device && isWithin(pods, point),
    );
    if (!isUsed) await takeDown(shared, signal);
  }

  /** Ends the sessions with a target of which no disk is used any more. */
  async #logout(iqn: string, signal: AbortSignal): Promise<void> {
    const folder = await realpath(this.#folder()).catch(() => this.#folder());
    const isMounted = (await readMounts()).some(
      ({ point }) => isWithin(folder, point) && parseDiskName(point)?.iqn === iqn,
    );
    if (isMounted || (await this.#shownDevices()).some((link) => parseDiskName(link)?.iqn === iqn)) return;
    const { output } = await run(["-m", "session"], signal, [noSessions]);
    for (const portal of sessionPortals(output, iqn))
      for (const call of logoutCalls(portal, iqn)) await run(call, signal, [noSessions]);
  }

  /** Where a file system is mounted for all Pods. */
  async #mountsOf(device: string): Promise<readonly string[]> {
    const folder = await realpath(this.#folder()).catch(() => this.#folder());
    return (await readMounts())
      .filter((one) => one.device === device && isWithin(folder, one.point))
      .map(({ point }) => point);
  }

  /** What Pods' links to block volumes name. */
  async #shownDevices(): Promise<readonly string[]> {
    const pods = path.join(this.#ports.rootDir, "pods");
    const found: string[] = [];
    for (const uid of await namesIn(pods)) {
      const folder = path.join(pods, uid, "volumeDevices", this.name.replace("/", "~"));
      for (const name of await namesIn(folder))
        found.push(await readlink(path.join(folder, name)).catch(() => ""));
    }
    return found;
  }

  #folder(): string {
    return path.join(this.#ports.rootDir, "plugins", this.name);
  }
}

/** Codes of iscsiadm(8) that are no fault where the thing is so already. */
const alreadyThere = 15;
const noSessions = 21;

/** @throws Error with what the program said. */
async function run(call: IscsiCall, signal: AbortSignal, fine: readonly number[] = []): Promise<Ended> {
  const ended = await runProgram("iscsiadm", call, { timeoutMs: callMs }, signal);
  if (ended.code === 0 || fine.includes(ended.code)) return ended;
  // A password is an argument: what is told ends before it.
  const told = call.includes("-v") ? call.slice(0, call.indexOf("-v")) : call;
  throw new Error(`iscsi: iscsiadm ${told.join(" ")} ended with ${ended.code}: ${ended.said.trim()}`);
}

/** The multipath device that the disk is a path of, where there is one. */
async function multipathOf(device: string): Promise<string> {
  const disk = path.basename(device);
  for (const name of await namesIn("/sys/block"))
    if (name.startsWith("dm-") && (await isThere(`/sys/block/${name}/slaves/${disk}`))) return `/dev/${name}`;
  return device;
}

async function takeDown(place: string, signal: AbortSignal): Promise<void> {
  if ((await mountAt(place)) !== undefined) await unmountByProgram(place, mountMs, signal);
  if ((await mountAt(place)) !== undefined) throw new Error(`"${place}" is still mounted`);
  await gone(rmdir(place)); // never with what is in it
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((): string[] => []);
}

async function isThere(place: string): Promise<boolean> {
  return await stat(place).then(
    () => true,
    () => false,
  );
}

async function gone(removing: Promise<void>): Promise<void> {
  await removing.catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}

function iscsiOf(source: VolumeSource): ISCSIVolumeSource | ISCSIPersistentVolumeSource | undefined {
  return source.from === "pod" ? source.volume.iscsi : source.volume.spec?.iscsi;
}
