import { lstat, readdir } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "#lib/read-if-there.ts";

/** How deep below the directory sockets are looked for. */
const maxDepth = 3;

/**
 * Every socket below a directory, with what tells it from another one that was made in its place.
 * Names that begin with a dot are passed over, as by the kubelet.
 * @param limit sockets at which the search ends.
 */
export async function findSockets(directory: string, limit: number): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const look = async (at: string, depth: number): Promise<void> => {
    for (const name of await namesIn(at)) {
      if (name.startsWith(".") || found.size >= limit) continue;
      const file = path.join(at, name);
      const info = await lstat(file).catch(() => undefined);
      if (info?.isDirectory() === true && depth < maxDepth) await look(file, depth + 1);
      if (info?.isSocket() === true) found.set(file, `${info.ino} ${info.ctimeMs}`);
    }
  };
  await look(directory, 0);
  return found;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).toSorted();
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw cause;
  }
}
