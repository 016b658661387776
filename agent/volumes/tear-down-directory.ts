import { unmountBelow } from "#linux/mount.ts";
import { removeUnmounted } from "./pod-directories.ts";
import type { VolumePlace } from "./volume-plugin.ts";

/** Takes down a volume whose content is the Pod's own: what is mounted there, then the directory with all in it. */
export async function tearDownDirectory({ directory }: VolumePlace): Promise<void> {
  await unmountBelow(directory);
  await removeUnmounted(directory);
}
