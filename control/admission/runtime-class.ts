import { asPod } from "./plan/typed.ts";
import { type PluginFactory, pluginFor, refuse } from "./plugin.ts";

/** A Pod names a RuntimeClass that exists, and costs what the class says on top. */
export const runtimeClass: PluginFactory = (ports) =>
  pluginFor("RuntimeClass", { operations: ["CREATE"], resource: "pods" }, async (request, object, signal) => {
    const { spec } = asPod(object);
    const name = spec.runtimeClassName ?? "";
    if (name === "") {
      if (spec.overhead !== undefined)
        throw refuse(
          request,
          "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        );
      return object;
    }
    const found = await ports.runtimeClass("", name, signal);
    if (found === undefined) throw refuse(request, `pod rejected: RuntimeClass "${name}" not found`);
    const nodeSelector = { ...spec.nodeSelector, ...found.scheduling?.nodeSelector };
    const tolerations = [...(spec.tolerations ?? []), ...(found.scheduling?.tolerations ?? [])];
    return {
      ...object,
      spec: {
        ...spec,
        ...(found.overhead?.podFixed === undefined ? {} : { overhead: found.overhead.podFixed }),
        ...(Object.keys(nodeSelector).length === 0 ? {} : { nodeSelector }),
        ...(tolerations.length === 0 ? {} : { tolerations }),
      },
    };
  });
