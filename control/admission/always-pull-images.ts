import { asPod } from "./plan/typed.ts";
import { type PluginFactory, pluginFor } from "./plugin.ts";

/** Every container's image is pulled anew, so that who may not pull it cannot run it. */
export const alwaysPullImages: PluginFactory = () =>
  pluginFor(
    "AlwaysPullImages",
    { operations: ["CREATE", "UPDATE"], resource: "pods" },
    (_request, object) => {
      const { spec } = asPod(object);
      const pull = <T extends object>(containers: readonly T[]): T[] =>
        containers.map((container) => ({ ...container, imagePullPolicy: "Always" }));
      return {
        ...object,
        spec: {
          ...spec,
          containers: pull(spec.containers),
          ...(spec.initContainers === undefined ? {} : { initContainers: pull(spec.initContainers) }),
        },
      };
    },
  );
