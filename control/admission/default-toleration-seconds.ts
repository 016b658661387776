import type { Toleration } from "#api/generated/kubernetes.ts";
import { asPod } from "./plan/typed.ts";
import { type PluginFactory, pluginFor } from "./plugin.ts";

const keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const seconds = 300;

/** A Pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise. */
export const defaultTolerationSeconds: PluginFactory = () =>
  pluginFor("DefaultTolerationSeconds", { operations: ["CREATE"], resource: "pods" }, (_request, object) => {
    const pod = asPod(object);
    const tolerations = pod.spec.tolerations ?? [];
    const missing = keys.filter((key) => !tolerations.some((one) => tolerates(one, key)));
    if (missing.length === 0) return object;
    const added = missing.map(
      (key): Toleration => ({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: seconds }),
    );
    return { ...object, spec: { ...pod.spec, tolerations: [...tolerations, ...added] } };
  });

function tolerates(toleration: Toleration, key: string): boolean {
  const { key: own = "", effect = "" } = toleration;
  return (own === key || own === "") && (effect === "NoExecute" || effect === "");
}
