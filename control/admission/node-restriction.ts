import type { AuthenticationV1TokenRequest, Node, Pod } from "#api/generated/kubernetes.ts";
import { podReferences } from "../auth/plan/pod-references.ts";
import { nodeOf } from "../auth/plan/authorize-node.ts";
import type { AdmissionRequest } from "../model.ts";
import { forbiddenLabels } from "./plan/node-labels.ts";
import { isMirror, mirrorAnnotation, typed } from "./plan/typed.ts";
import { type AdmissionPorts, type PluginFactory, refuse, resourceText } from "./plugin.ts";

/** A node changes its own Node, lease and Pods, and nothing that would give it more than its Pods have. */
export const nodeRestriction: PluginFactory = (ports) => ({
  name: "NodeRestriction",
  async admit(request, signal) {
    const node = nodeOf(request.user);
    if (node !== undefined) await check(node, request, ports, signal);
    return request.object;
  },
});

async function check(
  node: string,
  request: AdmissionRequest,
  ports: AdmissionPorts,
  signal: AbortSignal,
): Promise<void> {
  switch (resourceText(request)) {
    case "pods":
      if (request.operation === "CREATE") checkNewPod(node, request);
      else if (request.operation === "DELETE" && (await podNode(request, ports, signal)) !== node) {
        throw refuse(request, `node "${node}" can only delete pods with spec.nodeName set to itself`);
      }
      return;
    case "pods/status":
      if ((await podNode(request, ports, signal)) !== node) {
        throw refuse(
          request,
          `node "${node}" can only update pod status for pods with spec.nodeName set to itself`,
        );
      }
      return;
    case "pods/eviction":
      if ((await podNode(request, ports, signal)) !== node) {
        throw refuse(request, `node "${node}" can only evict pods with spec.nodeName set to itself`);
      }
      return;
    case "nodes":
    case "nodes/status":
      checkNode(node, request);
      return;
    case "serviceaccounts/token":
      await checkToken(node, request, ports, signal);
      return;
    case "leases.coordination.k8s.io":
      if (request.namespace !== "kube-node-lease") {
        throw refuse(request, `can only access leases in the "kube-node-lease" system namespace`);
      }
      if (nameOf(request) !== node) {
        throw refuse(request, "can only access node lease with the same name as the requesting node");
      }
      return;
    case "csinodes.storage.k8s.io":
      if (nameOf(request) !== node) {
        throw refuse(request, "can only access CSINode with the same name as the requesting node");
      }
      return;
    default:
  }
}

function checkNewPod(node: string, request: AdmissionRequest): void {
  if (request.object === undefined) return;
  const pod = typed<Pod>(request.object);
  if (!isMirror(request.object)) {
    throw refuse(
      request,
      `pod does not have "${mirrorAnnotation}" annotation, node "${node}" can only create mirror pods`,
    );
  }
  if (pod.spec?.nodeName !== node) {
    throw refuse(request, `node "${node}" can only create pods with spec.nodeName set to itself`);
  }
  const words = {
    serviceaccounts: "a service account",
    secrets: "secrets",
    configmaps: "configmaps",
    persistentvolumeclaims: "persistentvolumeclaims",
  };
  const references = podReferences(pod);
  for (const [kind, word] of Object.entries(words)) {
    if (references.some((reference) => reference.startsWith(`${kind}/`))) {
      throw refuse(request, `node "${node}" can not create pods that reference ${word}`);
    }
  }
}

function checkNode(node: string, request: AdmissionRequest): void {
  const name = nameOf(request);
  if (name !== node) throw refuse(request, `node "${node}" is not allowed to modify node "${name}"`);
  if (request.object === undefined) return;
  const now = typed<Node>(request.object);
  const before = request.before === undefined ? undefined : typed<Node>(request.before);
  if (
    before !== undefined &&
    JSON.stringify(now.spec?.taints ?? []) !== JSON.stringify(before.spec?.taints ?? [])
  ) {
    throw refuse(request, `node "${node}" is not allowed to modify taints`);
  }
  const labels = forbiddenLabels(now.metadata?.labels ?? {}, before?.metadata?.labels ?? {});
  if (labels.length > 0) {
    throw refuse(request, `is not allowed to modify labels: ${labels.join(", ")}`);
  }
}

async function checkToken(
  node: string,
  request: AdmissionRequest,
  ports: AdmissionPorts,
  signal: AbortSignal,
): Promise<void> {
  if (request.object === undefined) return;
  const ref = typed<AuthenticationV1TokenRequest>(request.object).spec?.boundObjectRef;
  if (ref?.kind !== "Pod" || ref.apiVersion !== "v1" || (ref.name ?? "") === "") {
    throw refuse(request, "node requested token not bound to a pod");
  }
  if ((ref.uid ?? "") === "") throw refuse(request, "node requested token with a pod binding without a uid");
  const pod = await ports.pod(request.namespace, ref.name ?? "", signal);
  if (pod?.metadata?.uid !== ref.uid)
    throw refuse(request, "the UID in the bound object reference does not match the UID in record");
  if (pod?.spec?.nodeName !== node)
    throw refuse(request, "node requested token bound to a pod scheduled on a different node");
}

async function podNode(
  request: AdmissionRequest,
  ports: AdmissionPorts,
  signal: AbortSignal,
): Promise<string | undefined> {
  const pod =
    request.before === undefined
      ? await ports.pod(request.namespace, request.name, signal)
      : typed<Pod>(request.before);
  return pod?.spec?.nodeName;
}

function nameOf(request: AdmissionRequest): string {
  return request.name === "" ? (request.object?.metadata.name ?? "") : request.name;
}
