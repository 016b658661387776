import { open, stat } from "node:fs/promises";
import type { HostPathVolumeSource } from "#api/generated/kubernetes.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";

type Found = Awaited<ReturnType<typeof stat>>;

interface HostPathType {
  readonly words: string;
  readonly is: (found: Found) => boolean;
  /** Makes it where there is nothing. */
  readonly make?: (target: string) => Promise<void>;
}

const directory = { words: "directory", is: (found: Found) => found.isDirectory() };
const file = { words: "file", is: (found: Found) => found.isFile() };
const types: ReadonlyMap<string, HostPathType> = new Map<string, HostPathType>([
  ["Directory", directory],
  ["DirectoryOrCreate", { ...directory, make: (target) => makeFolder(target, 0o755) }],
  ["File", file],
  ["FileOrCreate", { ...file, make: async (target) => (await open(target, "a", 0o644)).close() }],
  ["Socket", { words: "socket file", is: (found) => found.isSocket() }],
  ["CharDevice", { words: "character device", is: (found) => found.isCharacterDevice() }],
  ["BlockDevice", { words: "block device", is: (found) => found.isBlockDevice() }],
]);

/**
 * Checks, and for the OrCreate types makes, the path of a hostPath volume. Links are followed, as the runtime does.
 * @throws Error in the words of the kubelet's FailedMount event.
 */
export async function prepareHostPath({ type = "", path: target }: HostPathVolumeSource): Promise<void> {
  if (type === "") return;
  const known = types.get(type);
  if (known === undefined) throw new Error(`${type} is an invalid volume type`);
  const look = async (): Promise<Found | undefined> =>
    await stat(target).catch((cause: unknown) => {
      if (isMissing(cause)) return undefined;
      throw cause;
    });
  let found = await look();
  if (found === undefined && known.make !== undefined) {
    await known.make(target);
    found = await look();
  }
  if (found === undefined || !known.is(found))
    throw new Error(`hostPath type check failed: ${target} is not a ${known.words}`);
}
