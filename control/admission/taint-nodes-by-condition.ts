import type { Node } from "#api/generated/kubernetes.ts";
import { typed } from "./plan/typed.ts";
import { type PluginFactory, pluginFor } from "./plugin.ts";

const notReady = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };

/** A new Node takes no Pods until the node lifecycle controller has seen it ready. */
export const taintNodesByCondition: PluginFactory = () =>
  pluginFor("TaintNodesByCondition", { operations: ["CREATE"], resource: "nodes" }, (_request, object) => {
    const spec = typed<Node>(object).spec ?? {};
    const taints = spec.taints ?? [];
    const has = taints.some((taint) => taint.key === notReady.key && taint.effect === notReady.effect);
    return has ? object : { ...object, spec: { ...spec, taints: [...taints, notReady] } };
  });
