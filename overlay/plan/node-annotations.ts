import type { Node } from "#api/generated/kubernetes.ts";
import type { LeaseAttributes, SubnetLease } from "../model.ts";
import { parseVtep, renderVtep } from "./lease-text.ts";

/** A node's lease, from its `podCIDR` and flannel's annotations; undefined when it runs no overlay. */
export function leaseOfNode(node: Node, prefix: string): SubnetLease | undefined {
  const annotations = node.metadata?.annotations ?? {};
  const get = (name: string): string => annotations[`${prefix}/${name}`] ?? "";
  const subnet = node.spec?.podCIDR ?? "";
  if (
    get("kube-subnet-manager") !== "true" ||
    get("public-ip") === "" ||
    subnet === "" ||
    subnet.includes(":")
  ) {
    return undefined;
  }
  return {
    subnet,
    attributes: {
      publicIp: get("public-ip"),
      backendType: get("backend-type"),
      vtep: parseVtep(get("backend-data")),
    },
  };
}

/** What is to be changed on our own Node; parts that are right already are absent. */
export interface NodePatch {
  readonly metadata?: { readonly annotations: Readonly<Record<string, string>> };
  readonly status?: { readonly conditions: readonly Readonly<Record<string, string>>[] };
}

/**
 * @param conditionTime when the condition NetworkUnavailable is to be set, RFC 3339; undefined to leave it alone.
 */
export function nodePatch(
  node: Node,
  attributes: LeaseAttributes,
  prefix: string,
  conditionTime: string | undefined,
): NodePatch {
  const wanted: Readonly<Record<string, string>> = {
    [`${prefix}/backend-type`]: attributes.backendType,
    [`${prefix}/backend-data`]:
      attributes.vtep === undefined ? "null" : JSON.stringify(renderVtep(attributes.vtep)),
    [`${prefix}/public-ip`]: attributes.publicIp,
    [`${prefix}/kube-subnet-manager`]: "true",
  };
  const present = node.metadata?.annotations ?? {};
  const isPublished = Object.entries(wanted).every(([name, value]) => present[name] === value);
  const condition = node.status?.conditions?.find((one) => one.type === "NetworkUnavailable");
  return {
    ...(isPublished ? {} : { metadata: { annotations: wanted } }),
    ...(conditionTime === undefined || (condition?.status === "False" && condition.reason === "FlannelIsUp")
      ? {}
      : {
          status: {
            conditions: [
              {
                type: "NetworkUnavailable",
                status: "False",
                reason: "FlannelIsUp",
                message: "Flannel is running on this node",
                lastTransitionTime: conditionTime,
                lastHeartbeatTime: conditionTime,
              },
            ],
          },
        }),
  };
}
