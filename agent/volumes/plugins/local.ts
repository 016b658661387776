import { mkdir, readlink, realpath, rmdir, stat, symlink, unlink } from "node:fs/promises";
import path from "node:path";
import type { LocalVolumeSource } from "#api/generated/kubernetes.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isWithin, mountAt, readMounts } from "#linux/mount.ts";
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

const mountMs = 120_000;

/**
 * PersistentVolumes of a directory or a disk of this node. A directory is bound to the Pod; a disk is formatted when
 * nothing is on it and mounted once for all Pods, below `<root>/plugins/kubernetes.io/local-volume/mounts`, or shown
 * as it is to a Pod that wants the device.
 */
export class LocalPlugin implements VolumePlugin {
  readonly name = "kubernetes.io/local-volume";
  readonly refreshes = false;
  readonly #rootDir: string;
  /** By PersistentVolume: Pods share the mount of a disk. */
  readonly #turns = new KeyedLock();

  /** @param rootDir the agent's root directory. */
  constructor(rootDir: string) {
    this.#rootDir = rootDir;
  }

  serves(source: VolumeSource): boolean {
    return localOf(source) !== undefined;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    return await this.#turns.run(request.place.name, () => this.#setUp(request, signal), signal);
  }

  async tearDown(place: VolumePlace, signal: AbortSignal): Promise<void> {
    await this.#turns.run(place.name, () => this.#tearDown(place, signal), signal);
  }

  async #setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const { place, source, isBlock, mountOptions } = request;
    const { path: local = "", fsType = "" } = localOf(source) ?? {};
    if (local.split("/").includes("..")) throw new Error(`invalid path: ${local} must not contain '..'`);
    const found = await stat(local).catch((cause: unknown) => {
      if (isMissing(cause)) throw new Error(`path "${local}" does not exist`, { cause });
      throw cause;
    });
    if (isBlock) {
      if (!found.isBlockDevice()) throw new Error(`path "${local}" is not a block device`);
      return { hostPath: await showDevice(local, place.deviceFile) };
    }
    if (!found.isBlockDevice() && !found.isDirectory())
      throw new Error("only directory and block device are supported");
    if (found.isDirectory()) await this.#bind(local, request, signal);
    else {
      const shared = this.#diskMount(place.name);
      await makeFolder(shared, 0o750);
      if ((await mountAt(shared)) === undefined)
        await formatAndMount({ device: local, target: shared, fsType, options: mountOptions }, signal);
      await this.#bind(shared, request, signal);
    }
    return { hostPath: place.directory };
  }

  async #bind(origin: string, request: VolumeRequest, signal: AbortSignal): Promise<void> {
    const { place, readOnly, mountOptions, fsGroup, fsGroupPolicy, slowGroup } = request;
    const { directory } = place;
    await makeFolder(directory, 0o750);
    const isBound = (await mountAt(directory)) !== undefined;
    if (!isBound) {
      const options = ["bind", ...(readOnly ? ["ro"] : []), ...mountOptions];
      await mountByProgram({ source: origin, target: directory, type: "", options }, mountMs, signal);
    }
    // The first Pod's group is everyone's: a running Pod is not to lose its own.
    if (fsGroup === undefined || readOnly || (await this.#isShared(directory))) return;
    // What is bound already has its group, unless an agent died on the way: then the top has not.
    const policy = isBound ? "OnRootMismatch" : fsGroupPolicy;
    try {
      await applyFsGroup(directory, { group: fsGroup, policy, readOnly, slow: slowGroup }, signal);
    } catch (cause) {
      await unmountByProgram(directory, mountMs, AbortSignal.timeout(mountMs));
      throw cause;
    }
  }

  async #tearDown({ name, directory, deviceFile }: VolumePlace, signal: AbortSignal): Promise<void> {
    await gone(unlink(deviceFile));
    await takeDown(directory, signal);
    const shared = this.#diskMount(name);
    const disk = await mountAt(shared);
    if (disk === undefined || (await this.#users(({ device }) => device === disk.device)).length > 0) return;
    await takeDown(shared, signal);
  }

  /** Whether another Pod has the same directory. */
  async #isShared(directory: string): Promise<boolean> {
    const own = await mountAt(directory);
    if (own === undefined) return false;
    const users = await this.#users(({ device, root }) => device === own.device && root === own.root);
    return users.some((point) => point !== own.point);
  }

  /** Mounts of Pods of this agent that are such. */
  async #users(
    such: (mount: { readonly device: string; readonly root: string }) => boolean,
  ): Promise<readonly string[]> {
    const pods = path.join(await realpath(this.#rootDir), "pods");
    return (await readMounts())
      .filter((one) => isWithin(pods, one.point) && such(one))
      .map(({ point }) => point);
  }

  #diskMount(volume: string): string {
    return path.join(this.#rootDir, "plugins", this.name, "mounts", volume);
  }
}

/** Links to the device in the Pod's directory, by which it is found again. @returns the device itself. */
async function showDevice(device: string, link: string): Promise<string> {
  await mkdir(path.dirname(link), { recursive: true, mode: 0o750 });
  const before = await readlink(link).catch(() => undefined);
  if (before !== device) {
    await gone(unlink(link));
    await symlink(device, link);
  }
  return await realpath(device);
}

async function takeDown(place: string, signal: AbortSignal): Promise<void> {
  if ((await mountAt(place)) !== undefined) await unmountByProgram(place, mountMs, signal);
  if ((await mountAt(place)) !== undefined) throw new Error(`"${place}" is still mounted`);
  await gone(rmdir(place)); // never with what is in it
}

async function gone(removing: Promise<void>): Promise<void> {
  await removing.catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}

function localOf(source: VolumeSource): LocalVolumeSource | undefined {
  return source.from === "claim" ? source.volume.spec?.local : undefined;
}
