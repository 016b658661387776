import { realpath } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ISCSIPersistentVolumeSource, ISCSIVolumeSource } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { mountAt } from "#linux/mount.ts";
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
import { DiskMounts, isThere, multipathOf } from "../disk-mounts.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

const callMs = 120_000;
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
  readonly #mounts: DiskMounts;
  /** By target: a session serves all its disks. */
  readonly #turns = new KeyedLock();

  constructor(ports: IscsiPorts) {
    this.#ports = ports;
    this.#mounts = new DiskMounts(ports.rootDir, this.name);
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
    await this.#mounts.unbind(place, signal);
    // All that nobody uses: after an agent that died on the way nothing tells which was the Pod's.
    for (const shared of await this.#mounts.places(2)) {
      const disk = parseDiskName(shared);
      if (disk === undefined) continue;
      await this.#turns.run(disk.iqn, () => this.#release(shared, disk, place.deviceFile, signal), signal);
    }
    await this.#mounts.forget(place);
  }

  async #setUp(
    disk: IscsiDisk,
    source: ISCSIVolumeSource | ISCSIPersistentVolumeSource,
    request: VolumeRequest,
    signal: AbortSignal,
  ): Promise<MountedVolume> {
    const { directory, deviceFile } = request.place;
    const name = iscsiDiskName(disk);
    if (!request.isBlock && (await mountAt(directory)) !== undefined) {
      await this.#mounts.bind(this.#mounts.placeOf(name), request, signal);
      return { hostPath: directory };
    }
    const secrets = await this.#secrets(source, request, signal);
    // Places first: an agent that dies after the login is followed by one that finds them, and logs out.
    const [portal = ""] = disk.portals;
    if (request.isBlock) await this.#mounts.showDevice(this.#linkOf(portal, disk), deviceFile);
    else await makeFolder(directory, 0o750);
    await makeFolder(this.#mounts.placeOf(name), 0o750);
    const link = await this.#login(disk, secrets, signal);
    const device = await multipathOf(await realpath(link));
    if (request.isBlock) return { hostPath: device };
    const { fsType, readOnly } = disk;
    await this.#mounts.mount({ device, name, fsType, readOnly }, request, signal);
    return { hostPath: directory };
  }

  /** Unmounts a disk that no Pod has any more, and ends the sessions with its target after the last one. */
  async #release(
    shared: string,
    { iqn, lun }: { readonly iqn: string; readonly lun: number },
    ownLink: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (!(await this.#mounts.release(shared, signal))) return;
    const shown = (await this.#mounts.shownDevices(ownLink)).map(parseDiskName);
    const sameTarget = shown.filter((one) => one?.iqn === iqn);
    if (sameTarget.some((one) => one?.lun === lun)) return;
    const isMounted = (await this.#mounts.mounted()).some((name) => parseDiskName(name)?.iqn === iqn);
    if (!isMounted && sameTarget.length === 0) await logout(iqn, signal);
    await this.#mounts.remove(shared);
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
    const link = this.#linkOf(portal, disk);
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

  /** udev's link to the disk by one of its portals. */
  #linkOf(portal: string, disk: IscsiDisk): string {
    return path.join(this.#ports.links, iscsiLink(portal, disk));
  }
}

async function logout(iqn: string, signal: AbortSignal): Promise<void> {
  const { output } = await run(["-m", "session"], signal, [noSessions]);
  for (const portal of sessionPortals(output, iqn))
    for (const call of logoutCalls(portal, iqn)) await run(call, signal, [noSessions]);
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

function iscsiOf(source: VolumeSource): ISCSIVolumeSource | ISCSIPersistentVolumeSource | undefined {
  return source.from === "pod" ? source.volume.iscsi : source.volume.spec?.iscsi;
}
