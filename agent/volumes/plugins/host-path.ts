import { makeFolder } from "#lib/make-folder.ts";
import { prepareHostPath } from "./prepare-host-path.ts";
import type { VolumePlugin, VolumeSource } from "../volume-plugin.ts";

/** A place of the node itself. Nothing is made for it below the agent's root, so nothing is torn down. */
export const hostPathPlugin: VolumePlugin = {
  name: "kubernetes.io/host-path",
  refreshes: false,
  takesNoMountOptions: true,
  serves: (source) => hostPathOf(source) !== undefined,
  setUp: async ({ source, name, isBlock }) => {
    if (isBlock) throw new Error("a hostPath volume has no block device; use a local volume");
    const hostPath = hostPathOf(source);
    if (hostPath === undefined) throw new Error(`volume "${name}" is not a hostPath`);
    await prepareHostPath(hostPath);
    return { hostPath: hostPath.path };
  },
  tearDown: async () => {},
  // The node's own files: the kubelet does not count them as the Pod's either.
  stats: async () => undefined,
};

/** Makes the directory of a hostPath that has no type, as runtimes do when a container is made; others are there. */
export async function ensureHostPath(source: VolumeSource): Promise<void> {
  const hostPath = hostPathOf(source);
  if (hostPath === undefined || (hostPath.type ?? "") !== "") return;
  // Where it cannot be made the runtime says so.
  await makeFolder(hostPath.path, 0o755).catch(() => undefined);
}

function hostPathOf(source: VolumeSource): { readonly path: string; readonly type?: string } | undefined {
  return source.from === "pod" ? source.volume.hostPath : source.volume.spec?.hostPath;
}
