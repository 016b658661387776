import type { VolumePlugin } from "../volume-plugin.ts";

/**
 * Refused, as by the kubelet since 1.33 unless its gate is open: the node's own git would fetch, as root, what whoever
 * writes a Pod names, and run its hooks.
 */
export const gitRepoPlugin: VolumePlugin = {
  name: "kubernetes.io/git-repo",
  refreshes: false,
  serves: (source) => source.from === "pod" && source.volume.gitRepo !== undefined,
  setUp: async () => {
    throw new Error(
      "git-repo volume plugin has been disabled; clone the repository in an init container into an emptyDir instead",
    );
  },
  tearDown: async () => {},
};
