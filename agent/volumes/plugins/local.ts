import { realpath, stat } from "node:fs/promises";
import type { LocalVolumeSource } from "#api/generated/kubernetes.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { KeyedLock } from "../csi/keyed-lock.ts";
import { DiskMounts } from "../disk-mounts.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

/**
 * PersistentVolumes of a directory or a disk of this node. A directory is bound to the Pod; a disk is formatted when
 * nothing is on it and mounted once for all Pods, below `<root>/plugins/kubernetes.io/local-volume/mounts`, or shown
 * as it is to a Pod that wants the device.
 */
export class LocalPlugin implements VolumePlugin {
  readonly name = "kubernetes.io/local-volume";
  readonly refreshes = false;
  readonly #mounts: DiskMounts;
  /** By PersistentVolume: Pods share the mount of a disk. */
  readonly #turns = new KeyedLock();

  /** @param rootDir the agent's root directory. */
  constructor(rootDir: string) {
    this.#mounts = new DiskMounts(rootDir, this.name, "mounts");
  }

  serves(source: VolumeSource): boolean {
    return localOf(source) !== undefined;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    return await this.#turns.run(request.place.name, () => this.#setUp(request, signal), signal);
  }

  async tearDown(place: VolumePlace, signal: AbortSignal): Promise<void> {
    const work = async (): Promise<void> => {
      await this.#mounts.unbind(place, signal);
      const shared = this.#mounts.placeOf(place.name);
      if (await this.#mounts.release(shared, signal)) await this.#mounts.remove(shared);
      await this.#mounts.forget(place);
    };
    await this.#turns.run(place.name, work, signal);
  }

  async #setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const { place, source, isBlock } = request;
    const { path: local = "", fsType = "" } = localOf(source) ?? {};
    if (local.split("/").includes("..")) throw new Error(`invalid path: ${local} must not contain '..'`);
    const found = await stat(local).catch((cause: unknown) => {
      if (isMissing(cause)) throw new Error(`path "${local}" does not exist`, { cause });
      throw cause;
    });
    if (isBlock) {
      if (!found.isBlockDevice()) throw new Error(`path "${local}" is not a block device`);
      await this.#mounts.showDevice(local, place.deviceFile);
      return { hostPath: await realpath(local) };
    }
    if (found.isDirectory()) await this.#mounts.bind(local, request, signal);
    else if (found.isBlockDevice())
      await this.#mounts.mount({ device: local, name: place.name, fsType, readOnly: false }, request, signal);
    else throw new Error("only directory and block device are supported");
    return { hostPath: place.directory };
  }
}

function localOf(source: VolumeSource): LocalVolumeSource | undefined {
  return source.from === "claim" ? source.volume.spec?.local : undefined;
}
