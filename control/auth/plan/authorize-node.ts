import type { PolicyRule } from "#api/generated/kubernetes.ts";
import type { Attributes, Decision, User } from "../../model.ts";
import { authorizeRbac } from "./authorize-rbac.ts";
import type { ReferredKind } from "./pod-references.ts";

/** What a node's Pods refer to. */
export interface NodeReach {
  reaches(node: string, kind: ReferredKind, namespace: string, name: string): boolean;
  reachesVolume(node: string, volume: string): boolean;
}

const read = ["get", "list", "watch"];

/**
 * What every node may do, whichever it is. The proxy and the overlay of a node speak with the node's name as
 * well, so what they read (Services, EndpointSlices, Nodes) is here too.
 */
export const nodeRules: readonly PolicyRule[] = [
  { verbs: ["create"], apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"] },
  {
    verbs: ["create"],
    apiGroups: ["authorization.k8s.io"],
    resources: ["subjectaccessreviews", "localsubjectaccessreviews"],
  },
  { verbs: read, apiGroups: [""], resources: ["services", "endpoints", "nodes", "pods", "namespaces"] },
  { verbs: ["create"], apiGroups: [""], resources: ["nodes", "pods", "pods/eviction"] },
  { verbs: ["delete"], apiGroups: [""], resources: ["pods"] },
  { verbs: ["update", "patch"], apiGroups: [""], resources: ["pods/status"] },
  { verbs: ["create", "update", "patch"], apiGroups: ["", "events.k8s.io"], resources: ["events"] },
  { verbs: read, apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"] },
  { verbs: read, apiGroups: ["networking.k8s.io"], resources: ["servicecidrs", "networkpolicies"] },
  { verbs: read, apiGroups: ["node.k8s.io"], resources: ["runtimeclasses"] },
  { verbs: read, apiGroups: ["storage.k8s.io"], resources: ["csidrivers"] },
  { verbs: ["get"], apiGroups: ["storage.k8s.io"], resources: ["volumeattachments"] },
  {
    verbs: ["create", "get", "list", "watch"],
    apiGroups: ["certificates.k8s.io"],
    resources: ["certificatesigningrequests"],
  },
];

const allowed: Decision = { allowed: true, why: "node" };
const noOpinion = undefined;

/**
 * The Node authorizer: a node's kubelet may do what its own Node and Pods need.
 * @returns undefined for who is not a node: another authorizer decides.
 */
export function authorizeNode(attributes: Attributes, graph: NodeReach): Decision | undefined {
  const node = nodeOf(attributes.user);
  if (node === undefined || attributes.kind === "path") return noOpinion;
  if (authorizeRbac(attributes, nodeRules)) return allowed;
  const { verb, namespace, name, subresource } = attributes;
  const deny = (why: string): Decision => ({ allowed: false, why });
  const related = (is: boolean): Decision =>
    is ? allowed : deny(`no relationship found between node '${node}' and this object`);
  switch (`${attributes.group}/${attributes.resource}`) {
    case "/secrets":
    case "/configmaps": {
      if (!read.includes(verb) || subresource !== "") return deny("can only read resources of this type");
      if (name === "") return deny("No Object name found"); // only by name: never all of a namespace
      const kind = attributes.resource === "secrets" ? "secrets" : "configmaps";
      return related(graph.reaches(node, kind, namespace, name));
    }
    case "/persistentvolumeclaims": {
      const status = subresource === "status" && ["get", "update", "patch"].includes(verb);
      if (!status && !(subresource === "" && verb === "get")) return deny("can only get claims of its pods");
      return related(graph.reaches(node, "persistentvolumeclaims", namespace, name));
    }
    case "/persistentvolumes":
      if (verb !== "get" || subresource !== "") return deny("can only get volumes of its pods");
      return related(graph.reachesVolume(node, name));
    case "/serviceaccounts":
      if (subresource === "token" && verb === "create") {
        return related(graph.reaches(node, "serviceaccounts", namespace, name));
      }
      if (subresource === "" && verb === "get") {
        return related(graph.reaches(node, "serviceaccounts", namespace, name));
      }
      return deny("can only get or create tokens for service accounts of its pods");
    case "/nodes":
      if (!["update", "patch"].includes(verb) || !["", "status"].includes(subresource)) return noOpinion;
      return name === node ? allowed : deny(`node '${node}' cannot change node '${name}'`);
    case "coordination.k8s.io/leases": {
      if (namespace !== "kube-node-lease")
        return deny(`can only access leases in the "kube-node-lease" system namespace`);
      if (!["get", "create", "update", "patch", "delete"].includes(verb))
        return deny("can only get, create, update, patch, or delete a node lease");
      // A create has no name in its path; NodeRestriction checks the one in the object.
      return verb === "create" || name === node
        ? allowed
        : deny("can only access node lease with the same name as the requesting node");
    }
    case "storage.k8s.io/csinodes":
      if (!["get", "create", "update", "patch", "delete"].includes(verb))
        return deny("can only get, create, update, patch, or delete a CSINode");
      return verb === "create" || name === node
        ? allowed
        : deny("can only access CSINode with the same name as the requesting node");
    default:
      return noOpinion;
  }
}

/** The node that a user is: name `system:node:<name>` in group `system:nodes`. */
export function nodeOf(user: User): string | undefined {
  const prefix = "system:node:";
  if (!user.groups.includes("system:nodes") || !user.name.startsWith(prefix)) return undefined;
  const name = user.name.slice(prefix.length);
  return name === "" ? undefined : name;
}
