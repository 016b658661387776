import { ApiError } from "../api-error.ts";
import type { AdmissionPlugin } from "../model.ts";
import { alwaysPullImages } from "./always-pull-images.ts";
import { defaultStorageClass } from "./default-storage-class.ts";
import { defaultTolerationSeconds } from "./default-toleration-seconds.ts";
import { limitRanger } from "./limit-ranger.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { nodeRestriction } from "./node-restriction.ts";
import type { AdmissionPorts, PluginFactory } from "./plugin.ts";
import { priority } from "./priority.ts";
import { runtimeClass } from "./runtime-class.ts";
import { serviceAccount } from "./service-account.ts";
import { taintNodesByCondition } from "./taint-nodes-by-condition.ts";

/** Every plugin of ours by name, in the order in which upstream runs them. */
const factories: ReadonlyMap<string, PluginFactory> = new Map<string, PluginFactory>([
  ["AlwaysAdmit", () => ({ name: "AlwaysAdmit", admit: (request) => Promise.resolve(request.object) })],
  ["NamespaceLifecycle", namespaceLifecycle],
  ["LimitRanger", limitRanger],
  ["ServiceAccount", serviceAccount],
  ["NodeRestriction", nodeRestriction],
  ["TaintNodesByCondition", taintNodesByCondition],
  ["AlwaysPullImages", alwaysPullImages],
  ["Priority", priority],
  ["DefaultTolerationSeconds", defaultTolerationSeconds],
  ["DefaultStorageClass", defaultStorageClass],
  ["RuntimeClass", runtimeClass],
  [
    "AlwaysDeny",
    () => ({
      name: "AlwaysDeny",
      admit: () =>
        Promise.reject(new ApiError(403, "Forbidden", "admission control is denying all modifications")),
    }),
  ],
]);

/** What runs unless the operator says otherwise. */
export const defaultPlugins: readonly string[] = [
  "NamespaceLifecycle",
  "LimitRanger",
  "ServiceAccount",
  "NodeRestriction",
  "TaintNodesByCondition",
  "Priority",
  "DefaultTolerationSeconds",
  "DefaultStorageClass",
  "RuntimeClass",
];

/**
 * Names that manuals of some Kubernetes release tell users to list and that we have nothing for. Listing them
 * is no mistake, so they are told about and passed over.
 */
const withoutPlugin = new Set([
  "DefaultIngressClass",
  "DenyEscalatingExec",
  "InitialResources",
  "Initializers",
  "MutatingAdmissionWebhook",
  "PersistentVolumeClaimResize",
  "PersistentVolumeLabel",
  "PodSecurity",
  "PodSecurityPolicy",
  "ResourceQuota",
  "SecurityContextDeny",
  "StorageObjectInUseProtection",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionWebhook",
]);

/** The names of `--enable-admission-plugins`, sorted into what runs and what we pass over. */
export interface ChosenPlugins {
  readonly run: readonly string[];
  readonly passedOver: readonly string[];
}

/**
 * @param names in any order; plugins run in upstream's order, which their effects on each other need.
 * @throws Error for a name that no Kubernetes release knew.
 */
export function choosePlugins(names: readonly string[]): ChosenPlugins {
  for (const name of names) {
    if (factories.has(name) || withoutPlugin.has(name)) continue;
    throw new Error(
      `want names of admission plugins; "${name}" is none; there are ${[...factories.keys()].join(", ")}`,
    );
  }
  return {
    run: [...factories.keys()].filter((name) => names.includes(name)),
    passedOver: names.filter((name) => withoutPlugin.has(name)),
  };
}

/** Makes the plugins that were chosen. */
export function admissionChain(names: readonly string[], ports: AdmissionPorts): readonly AdmissionPlugin[] {
  return names.flatMap((name) => factories.get(name)?.(ports) ?? []);
}
