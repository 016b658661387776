import { readlink, realpath, writeFile } from "node:fs/promises";
import path from "node:path";
import type { FCVolumeSource } from "#api/generated/kubernetes.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { mountAt } from "#linux/mount.ts";
import { runProgram } from "#linux/run-program.ts";
import { fcDiskName, fcFault, isFcLink } from "../../plan/fc.ts";
import { KeyedLock } from "../csi/keyed-lock.ts";
import { DiskMounts, isThere, multipathOf, namesIn } from "../disk-mounts.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

const flushMs = 60_000;

/** What Fibre Channel volumes stand on. */
export interface FcPorts {
  /** The agent's root directory. */
  readonly rootDir: string;
  /** Where udev links disks; `/dev/disk`. */
  readonly links: string;
  /** `/sys`. */
  readonly sys: string;
}

/**
 * Disks of a Fibre Channel fabric. They are found by udev's links, after the node's adapters have looked for new ones,
 * mounted once for all Pods, and let go of with their last user.
 */
export class FcPlugin implements VolumePlugin {
  readonly name = "kubernetes.io/fc";
  readonly refreshes = false;
  readonly #ports: FcPorts;
  readonly #mounts: DiskMounts;
  /** By disk. */
  readonly #turns = new KeyedLock();

  constructor(ports: FcPorts) {
    this.#ports = ports;
    this.#mounts = new DiskMounts(ports.rootDir, this.name);
  }

  serves(source: VolumeSource): boolean {
    return fcOf(source) !== undefined;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const fc = fcOf(request.source) ?? {};
    const fault = fcFault(fc);
    if (fault !== undefined) throw new Error(fault);
    return await this.#turns.run(fcDiskName(fc), () => this.#setUp(fc, request, signal), signal);
  }

  async tearDown(place: VolumePlace, signal: AbortSignal): Promise<void> {
    const link = await readlink(place.deviceFile).catch(() => "");
    if (link !== "" && !(await this.#mounts.shownDevices(place.deviceFile)).includes(link))
      await this.#letGo(link, signal);
    await this.#mounts.unbind(place, signal);
    for (const shared of await this.#mounts.places(1)) {
      const work = async (): Promise<void> => {
        const source = (await mountAt(shared))?.source;
        if (!(await this.#mounts.release(shared, signal))) return;
        if (source !== undefined) await this.#letGo(source, signal);
        await this.#mounts.remove(shared);
      };
      await this.#turns.run(path.basename(shared), work, signal);
    }
    await this.#mounts.forget(place);
  }

  async #setUp(fc: FCVolumeSource, request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const { directory, deviceFile } = request.place;
    const name = fcDiskName(fc);
    if (!request.isBlock && (await mountAt(directory)) !== undefined) {
      await this.#mounts.bind(this.#mounts.placeOf(name), request, signal);
      return { hostPath: directory };
    }
    const link = await this.#find(fc);
    const device = await multipathOf(await realpath(link), this.#ports.sys);
    if (request.isBlock) {
      await this.#mounts.showDevice(device, deviceFile);
      return { hostPath: device };
    }
    await makeFolder(directory, 0o750);
    const { fsType = "", readOnly = false } = fc;
    await this.#mounts.mount({ device, name, fsType, readOnly }, request, signal);
    return { hostPath: directory };
  }

  /** @throws Error when no adapter sees the disk. */
  async #find(fc: FCVolumeSource): Promise<string> {
    const look = async (): Promise<string | undefined> => {
      for (const kind of ["by-path", "by-id"] as const) {
        const folder = path.join(this.#ports.links, kind);
        const found = (await namesIn(folder)).find((name) => isFcLink(kind, name, fc));
        if (found !== undefined) return path.join(folder, found);
      }
      return undefined;
    };
    const known = await look();
    if (known !== undefined) return known;
    const hosts = path.join(this.#ports.sys, "class/scsi_host");
    for (const host of await namesIn(hosts)) await writeFile(path.join(hosts, host, "scan"), "- - -");
    const found = await look();
    if (found === undefined) throw new Error("no fc disk found");
    return found;
  }

  /** The kernel forgets a disk that nobody uses; the adapters find it again. */
  async #letGo(device: string, signal: AbortSignal): Promise<void> {
    const { sys } = this.#ports;
    const name = path.basename(await realpath(device).catch(() => device));
    const paths = name.startsWith("dm-") ? await namesIn(`${sys}/block/${name}/slaves`) : [name];
    if (name.startsWith("dm-")) {
      const { code, said } = await runProgram(
        "multipath",
        ["-f", `/dev/${name}`],
        { timeoutMs: flushMs },
        signal,
      );
      if (code !== 0) throw new Error(`multipath -f /dev/${name} ended with ${code}: ${said.trim()}`);
    }
    for (const disk of paths) {
      const file = `${sys}/block/${disk}/device/delete`;
      if (await isThere(file)) await writeFile(file, "1");
    }
  }
}

function fcOf(source: VolumeSource): FCVolumeSource | undefined {
  return source.from === "pod" ? source.volume.fc : source.volume.spec?.fc;
}
