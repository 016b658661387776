import { applyDefaults, limitProblems } from "./plan/limit-range.ts";
import { asPod } from "./plan/typed.ts";
import { type PluginFactory, pluginFor, refuse } from "./plugin.ts";

const annotation = "kubernetes.io/limit-ranger";

/** Pods keep within the LimitRanges of their namespace; what they leave open is filled in from them. */
export const limitRanger: PluginFactory = (ports) =>
  pluginFor("LimitRanger", { operations: ["CREATE"], resource: "pods" }, (request, object) => {
    const ranges = [...ports.limitRanges.values()].filter(
      (range) => range.metadata?.namespace === request.namespace,
    );
    if (ranges.length === 0) return object;
    let { spec } = asPod(object);
    const filled: string[] = [];
    for (const range of ranges) {
      const limited = applyDefaults(spec, range);
      spec = limited.spec;
      filled.push(...limited.filled);
    }
    const problems = ranges.flatMap((range) => limitProblems(spec, range));
    if (problems.length > 0) {
      throw refuse(request, problems.length === 1 ? (problems[0] ?? "") : `[${problems.join(", ")}]`);
    }
    if (filled.length === 0) return object;
    const annotations = {
      ...object.metadata.annotations,
      [annotation]: `LimitRanger plugin set: ${filled.join("; ")}`,
    };
    return { ...object, metadata: { ...object.metadata, annotations }, spec };
  });
