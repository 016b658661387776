import { mkdir, readdir, readlink, realpath, rmdir, stat, symlink, unlink } from "node:fs/promises";
import path from "node:path";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isWithin, mountAt, readMounts } from "#linux/mount.ts";
import { formatAndMount } from "./format-and-mount.ts";
import { applyFsGroup } from "./fs-group.ts";
import { mountByProgram, unmountByProgram } from "./mount-program.ts";
import { pluginDirectory, type VolumePlace, type VolumeRequest } from "./volume-plugin.ts";

const mountMs = 120_000;

/** A disk whose files Pods share. */
export interface SharedDisk {
  /** The block device. */
  readonly device: string;
  /** Its place below the plugin's folder. */
  readonly name: string;
  /** "" for ext4. */
  readonly fsType: string;
  readonly readOnly: boolean;
}

/**
 * Where a kind of volume keeps disks: mounted once for all Pods of the node below the plugin's folder, and bound from
 * there into each Pod. What is in use is read from the kernel's table of mounts, so that another agent goes on from it.
 */
export class DiskMounts {
  readonly #rootDir: string;
  readonly #plugin: string;
  readonly #folder: string;

  /**
   * @param rootDir the agent's root directory.
   * @param plugin its name: `kubernetes.io/iscsi`.
   * @param folder of its disks, below `<root>/plugins/<plugin>`.
   */
  constructor(rootDir: string, plugin: string, folder = "") {
    this.#rootDir = rootDir;
    this.#plugin = plugin;
    this.#folder = path.join(rootDir, "plugins", plugin, folder);
  }

  /** Mounts the disk where that has not been done, and binds it for the Pod. */
  async mount(disk: SharedDisk, request: VolumeRequest, signal: AbortSignal): Promise<void> {
    const { device, fsType, readOnly } = disk;
    const shared = this.placeOf(disk.name);
    if ((await mountAt(shared)) === undefined) {
      await makeFolder(shared, 0o750);
      const options = [...request.mountOptions, ...(readOnly ? ["ro"] : [])];
      await formatAndMount({ device, target: shared, fsType, options }, signal);
    }
    await this.bind(shared, { ...request, readOnly: request.readOnly || readOnly }, signal);
  }

  /** Binds a directory of the node into the Pod, and gives it to the Pod's group unless another Pod has it too. */
  async bind(origin: string, request: VolumeRequest, signal: AbortSignal): Promise<void> {
    const { place, readOnly, mountOptions, fsGroup, fsGroupPolicy, slowGroup } = request;
    const { directory } = place;
    const isBound = (await mountAt(directory)) !== undefined;
    if (!isBound) {
      await makeFolder(directory, 0o750);
      const options = ["bind", ...(readOnly ? ["ro"] : []), ...mountOptions];
      await mountByProgram({ source: origin, target: directory, type: "", options }, mountMs, signal);
    }
    if (fsGroup === undefined || readOnly) return;
    // The first Pod's group is everyone's: a running Pod is not to lose its own.
    if (await this.#isShared(directory)) {
      const { gid } = await stat(directory);
      const words = `The requested fsGroup is ${fsGroup}, but the volume ${place.name} has GID ${gid}.`;
      if (gid !== fsGroup) request.warn("AlreadyMountedVolume", `${words} The volume may not be shareable.`);
      return;
    }
    // What is bound already has its group, unless an agent died on the way: then the top has not.
    const policy = isBound ? "OnRootMismatch" : fsGroupPolicy;
    try {
      await applyFsGroup(directory, { group: fsGroup, policy, readOnly, slow: slowGroup }, signal);
    } catch (cause) {
      await unmountByProgram(directory, mountMs, AbortSignal.timeout(mountMs));
      throw cause;
    }
  }

  /** Links to a device in the Pod's directory, by which it is found again; also to one that is not there yet. */
  async showDevice(device: string, link: string): Promise<void> {
    await mkdir(path.dirname(link), { recursive: true, mode: 0o750 });
    if ((await readlink(link).catch(() => undefined)) === device) return;
    await gone(unlink(link));
    await symlink(device, link);
  }

  /** Unmounts what is bound for the Pod. Its directory stays for {@link forget}: by it another agent goes on. */
  async unbind({ directory }: VolumePlace, signal: AbortSignal): Promise<void> {
    await unmountOnce(directory, signal);
  }

  /** Unmounts a disk that no Pod has any more; its directory stays for {@link remove}. @returns whether none has. */
  async release(shared: string, signal: AbortSignal): Promise<boolean> {
    const disk = await mountAt(shared);
    if (disk === undefined) return true;
    if ((await this.#users(({ device }) => device === disk.device)).length > 0) return false;
    await unmountOnce(shared, signal);
    return true;
  }

  /** The last step for a disk. */
  async remove(shared: string): Promise<void> {
    await gone(rmdir(shared)); // never with what is in it
  }

  /** The last step for a Pod's volume. */
  async forget({ directory, deviceFile }: VolumePlace): Promise<void> {
    await gone(rmdir(directory));
    await gone(unlink(deviceFile));
  }

  /** Where a disk of this name is mounted for all Pods. */
  placeOf(name: string): string {
    return path.join(this.#folder, name);
  }

  /** The disks that are mounted for all Pods. */
  async mounted(): Promise<readonly string[]> {
    const folder = await realpath(this.#folder).catch(() => this.#folder);
    return (await readMounts()).map(({ point }) => point).filter((point) => isWithin(folder, point));
  }

  /** The places of disks, mounted or not, so many folders below the plugin's. */
  async places(depth: number): Promise<readonly string[]> {
    let found: readonly string[] = [this.#folder];
    for (let level = 0; level < depth; level += 1) {
      const below = found.map(async (folder) =>
        (await namesIn(folder)).map((name) => path.join(folder, name)),
      );
      found = (await Promise.all(below)).flat();
    }
    return found;
  }

  /** What the Pods' links to devices of this plugin name. @param except a link that does not count. */
  async shownDevices(except: string): Promise<readonly string[]> {
    const pods = path.join(this.#rootDir, "pods");
    const found: string[] = [];
    for (const uid of await namesIn(pods)) {
      const folder = path.join(pods, uid, "volumeDevices", pluginDirectory(this.#plugin));
      for (const link of (await namesIn(folder)).map((name) => path.join(folder, name)))
        if (link !== except) found.push(await readlink(link).catch(() => ""));
    }
    return found;
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
}

/** The multipath device that a disk is a path of, where there is one. @param sys `/sys`. */
export async function multipathOf(device: string, sys = "/sys"): Promise<string> {
  const disk = path.basename(device);
  for (const name of await namesIn(`${sys}/block`))
    if (name.startsWith("dm-") && (await isThere(`${sys}/block/${name}/slaves/${disk}`)))
      return `/dev/${name}`;
  return device;
}

/** The names in a folder; none where there is no folder. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((): string[] => []);
}

/** Whether something is there; a link that leads nowhere is not. */
export async function isThere(place: string): Promise<boolean> {
  return await stat(place).then(
    () => true,
    () => false,
  );
}

async function unmountOnce(place: string, signal: AbortSignal): Promise<void> {
  if ((await mountAt(place)) !== undefined) await unmountByProgram(place, mountMs, signal);
  if ((await mountAt(place)) !== undefined) throw new Error(`"${place}" is still mounted`);
}

async function gone(removing: Promise<void>): Promise<void> {
  await removing.catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}
