import { readdir, stat } from "node:fs/promises";
import path from "node:path";

/** libcni's cache, where containerd, CRI-O and our own runner all write what a network's ADD answered. */
const resultsFolder = "/var/lib/cni/results";

/**
 * When the network of a sandbox was up: libcni writes the answer of a network's ADD to its cache at once. The runtime
 * itself makes sandbox and network in one call and does not tell them apart.
 * @returns wall time in milliseconds; undefined on the host's network, or where the cache is elsewhere.
 * @see https://github.com/containernetworking/cni/blob/main/libcni/api.go `getCacheFilePath`: `<network>-<id>-<interface>`
 */
export async function networkUpMs(
  sandboxId: string,
  folder: string = resultsFolder,
): Promise<number | undefined> {
  const names = await readdir(folder).catch(() => []);
  const times = await Promise.all(
    names
      .filter((name) => name.includes(`-${sandboxId}-`))
      .map(async (name) => (await stat(path.join(folder, name))).mtimeMs),
  );
  return times.length === 0 ? undefined : Math.max(...times);
}
