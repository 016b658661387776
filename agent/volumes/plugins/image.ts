import type { VolumePlugin } from "../volume-plugin.ts";

/** An image's content: the runtime mounts it when it makes the container. */
export const imagePlugin: VolumePlugin = {
  name: "kubernetes.io/image",
  refreshes: false,
  serves: (source) => source.from === "pod" && source.volume.image !== undefined,
  setUp: async () => ({ hostPath: "" }),
  tearDown: async () => {},
};
