import { tearDownDirectory } from "../tear-down-directory.ts";
import type { VolumePlugin } from "../volume-plugin.ts";

/** An image's content, mounted when a container is made: by the runtime itself, or shown by it in the place. */
export const imagePlugin: VolumePlugin = {
  name: "kubernetes.io/image",
  refreshes: false,
  serves: (source) => source.from === "pod" && source.volume.image !== undefined,
  setUp: async () => ({ hostPath: "" }),
  tearDown: tearDownDirectory,
};
