import type {
  LimitRange,
  Namespace,
  Pod,
  PriorityClass,
  RuntimeClass,
  ServiceAccount,
  StorageClass,
} from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { type ApiError, forbidden } from "../api-error.ts";
import type { AdmissionPlugin, AdmissionRequest, StoredObject } from "../model.ts";
import type { Lister, Lookup } from "../observe/lookup.ts";

/** What plugins read of the cluster. */
export interface AdmissionPorts {
  readonly namespace: Lookup<Namespace>;
  readonly serviceAccount: Lookup<ServiceAccount>;
  readonly pod: Lookup<Pod>;
  readonly priorityClass: Lookup<PriorityClass>;
  readonly runtimeClass: Lookup<RuntimeClass>;
  readonly priorityClasses: Lister<PriorityClass>;
  readonly storageClasses: Lister<StorageClass>;
  readonly limitRanges: Lister<LimitRange>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Makes a plugin from its ports. */
export type PluginFactory = (ports: AdmissionPorts) => AdmissionPlugin;

/** What is done to an object: the one to go on with. Throws an ApiError to refuse. */
export type Admit = (
  request: AdmissionRequest,
  object: StoredObject,
  signal: AbortSignal,
) => Promise<StoredObject> | StoredObject;

/** Which writes a plugin is for: `pods`, `nodes`, `leases.coordination.k8s.io`, `pods/status`. */
export interface PluginScope {
  readonly operations: readonly AdmissionRequest["operation"][];
  readonly resource: string;
}

/** A plugin for one kind of write; every other write passes it by. */
export function pluginFor(name: string, scope: PluginScope, admit: Admit): AdmissionPlugin {
  return {
    name,
    async admit(request, signal) {
      if (request.object === undefined || !isFor(request, scope)) return request.object;
      return await admit(request, request.object, signal);
    },
  };
}

/** `pods`, `deployments.apps`, `pods/status`. */
export function resourceText(request: AdmissionRequest): string {
  const { group, plural } = request.resource;
  const name = group === "" ? plural : `${plural}.${group}`;
  return request.subresource === "" ? name : `${name}/${request.subresource}`;
}

/** 403, as `pods "x" is forbidden: why`. */
export function refuse(request: AdmissionRequest, why: string): ApiError {
  return forbidden(request.resource, request.name, why);
}

function isFor(request: AdmissionRequest, scope: PluginScope): boolean {
  return scope.operations.includes(request.operation) && resourceText(request) === scope.resource;
}
