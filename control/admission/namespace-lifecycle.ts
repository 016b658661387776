import type { Namespace } from "#api/generated/kubernetes.ts";
import { ApiError, notFound } from "../api-error.ts";
import type { AdmissionRequest } from "../model.ts";
import { type PluginFactory, refuse } from "./plugin.ts";

const immortal = new Set(["default", "kube-system", "kube-public"]);
const namespaces = { group: "", plural: "namespaces", kind: "Namespace" };

/**
 * Nothing is created in a namespace that is missing (404) or on its way out (403), and the cluster's own
 * namespaces cannot be deleted.
 */
export const namespaceLifecycle: PluginFactory = (ports) => ({
  name: "NamespaceLifecycle",
  async admit(request, signal) {
    const isNamespace = request.resource.group === "" && request.resource.plural === "namespaces";
    if (isNamespace) {
      if (request.operation === "DELETE" && immortal.has(request.name)) {
        throw refuse(request, "this namespace may not be deleted");
      }
      return request.object;
    }
    if (request.operation !== "CREATE" || request.namespace === "") return request.object;
    const namespace = await ports.namespace("", request.namespace, signal);
    if (namespace === undefined) throw notFound(namespaces, request.namespace);
    if (isTerminating(namespace)) throw terminating(request);
    return request.object;
  },
});

function isTerminating(namespace: Namespace): boolean {
  return namespace.metadata?.deletionTimestamp !== undefined || namespace.status?.phase === "Terminating";
}

function terminating(request: AdmissionRequest): ApiError {
  const { namespace } = request;
  const error = refuse(
    request,
    `unable to create new content in namespace ${namespace} because it is being terminated`,
  );
  return new ApiError(error.code, error.reason, error.message, {
    ...error.details,
    causes: [
      {
        reason: "NamespaceTerminating",
        message: `namespace ${namespace} is being terminated`,
        field: "metadata.namespace",
      },
    ],
  });
}
