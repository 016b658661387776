import { existsSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import path from "node:path";
import type { NFSVolumeSource } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { mountAt } from "#linux/mount.ts";
import { type MountCall, mountByProgram, unmountByProgram } from "../mount-program.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

/** mount.nfs(8) itself tries for two minutes (nfs(5), `retry`). */
const mountMs = 180_000;
/** As long as the kubelet waits before it unmounts by force. */
const unmountMs = 60_000;
/** Where mount(8) looks for the programs of file systems. */
const helperFolders = ["/sbin", "/sbin/fs.d", "/sbin/fs"];

/**
 * Directories of an NFS server, mounted by mount.nfs(8) of the node. Nothing here looks into them: a server that does
 * not answer holds up whoever does.
 */
export const nfsPlugin: VolumePlugin = {
  name: "kubernetes.io/nfs",
  refreshes: false,
  serves: (source) => nfsOf(source) !== undefined,
  setUp,
  tearDown,
};

async function setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
  const { place, source, isBlock } = request;
  if (isBlock) throw new Error("an NFS volume has no block device");
  const nfs = nfsOf(source);
  if (nfs === undefined) throw new Error(`volume "${request.name}" is not NFS`);
  const { directory } = place;
  if ((await mountAt(directory)) !== undefined) return { hostPath: directory };
  await makeFolder(directory, 0o750);
  try {
    await mountByProgram(nfsMount(nfs, directory, request), mountMs, signal);
  } catch (cause) {
    if ((await mountAt(directory)) === undefined) await rmdir(directory).catch(() => undefined);
    signal.throwIfAborted();
    if (helperFolders.some((folder) => existsSync(path.join(folder, "mount.nfs")))) throw cause;
    throw new Error(`${errorText(cause)}\nmount.nfs is not on this node: install nfs-common or nfs-utils`, {
      cause,
    });
  }
  return { hostPath: directory };
}

async function tearDown({ directory }: VolumePlace, signal: AbortSignal): Promise<void> {
  if ((await mountAt(directory)) !== undefined)
    await unmountByProgram(directory, unmountMs, signal, { force: true });
  await rmdir(directory).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
}

/** The call of mount(8) for an NFS volume. Options are each there once, in order, as the kubelet has them. */
export function nfsMount(
  { server, path: exported, readOnly = false }: NFSVolumeSource,
  target: string,
  request: Pick<VolumeRequest, "readOnly" | "mountOptions">,
): MountCall {
  // An IPv6 address needs brackets: its colons would end the name of the server (nfs(5)).
  const host = server.includes(":") && !server.startsWith("[") ? `[${server}]` : server;
  const own = readOnly || request.readOnly ? ["ro"] : [];
  return {
    source: `${host}:${exported}`,
    target,
    type: "nfs",
    options: [...new Set([...request.mountOptions, ...own])].toSorted(),
  };
}

function nfsOf(source: VolumeSource): NFSVolumeSource | undefined {
  return source.from === "pod" ? source.volume.nfs : source.volume.spec?.nfs;
}
