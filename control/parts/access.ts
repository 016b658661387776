import type { LimitRange, Secret, StorageClass } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import * as resources from "#api/resources.ts";
import { admissionChain, choosePlugins } from "../admission/chain.ts";
import { rbacEscalation } from "../admission/rbac-escalation.ts";
import { serviceAllocator } from "../allocators/service-allocator.ts";
import type { TokenAuthenticator } from "../auth/authenticator.ts";
import { type Authorize, authorizer } from "../auth/authorizer.ts";
import { bootstrapTokenAuthenticator } from "../auth/bootstrap-token.ts";
import type { TokenIssuerPorts } from "../auth/issue-token.ts";
import { NodeGraph } from "../auth/node-graph.ts";
import { RbacRules } from "../auth/rbac-rules.ts";
import { serviceAccountAuthenticator } from "../auth/service-account-token.ts";
import type { TokenKey } from "../auth/token-key.ts";
import { priorityClasses } from "../bootstrap/bootstrap.ts";
import type { AdmissionPlugin } from "../model.ts";
import { getOrUndefined, type Lookup, lookup } from "../observe/lookup.ts";
import type { PartPorts } from "./part.ts";

const limitRanges: Resource<LimitRange> = {
  group: "",
  version: "v1",
  plural: "limitranges",
  kind: "LimitRange",
  namespaced: true,
};
const storageClasses: Resource<StorageClass> = {
  group: "storage.k8s.io",
  version: "v1",
  plural: "storageclasses",
  kind: "StorageClass",
  namespaced: false,
};

/** Who may do what, and what is made of it: everything the API server decides from the cluster's own objects. */
export interface Access {
  readonly authorize: Authorize;
  readonly rules: RbacRules;
  readonly tokens: readonly TokenAuthenticator[];
  readonly admission: readonly AdmissionPlugin[];
  readonly issuer: TokenIssuerPorts;
}

/** Waits until the caches are complete and makes the rules from them. Nothing is decided from half a picture. */
export async function openAccess(ports: PartPorts, key: TokenKey, signal: AbortSignal): Promise<Access> {
  const { config, tables, clock, random, log } = ports;
  const { issuer } = ports.settings;
  const client = ports.clientOf("apiserver");
  const of = tablesOf(ports);
  await tables.synced(signal);

  const serviceAccount = lookup(resources.serviceAccounts, of.serviceAccounts, client);
  const pod = lookup(resources.pods, of.pods, client);
  const node = lookup(resources.nodes, of.nodes, client);
  // Secrets are not kept in memory: few requests need one.
  const secret: Lookup<Secret> = (namespace, name, stop) =>
    getOrUndefined(client, resources.secrets, namespace, name, stop);

  const rules = new RbacRules(of);
  const graph = new NodeGraph(of.pods, of.claims);
  const authorize = authorizer(config.authorizationModes, { rules, graph });
  const chosen = choosePlugins(config.admissionPlugins);
  if (chosen.passedOver.length > 0) {
    log.warn("some admission plugins do not exist here", { names: chosen.passedOver });
  }
  const plugins = admissionChain(chosen.run, {
    namespace: lookup(resources.namespaces, of.namespaces, client),
    serviceAccount,
    pod,
    priorityClass: lookup(priorityClasses, of.priorityClasses, client),
    runtimeClass: lookup(resources.runtimeClasses, of.runtimeClasses, client),
    priorityClasses: of.priorityClasses,
    storageClasses: of.storageClasses,
    limitRanges: of.limitRanges,
    clock,
    random,
  });
  const allocator = serviceAllocator({
    services: of.services,
    current: (namespace, name, stop) => getOrUndefined(client, resources.services, namespace, name, stop),
    range: config.serviceClusterIpRange,
    nodePorts: config.serviceNodePortRange,
    clock,
    random,
  });
  return {
    authorize,
    rules,
    tokens: [
      serviceAccountAuthenticator(key, issuer, { serviceAccount, pod, node, secret }, clock),
      bootstrapTokenAuthenticator(secret, clock),
    ],
    admission: [...plugins, rbacEscalation(rules, authorize), allocator],
    issuer: { key, issuer, serviceAccount, pod, node, secret, clock },
  };
}

function tablesOf({ tables }: PartPorts) {
  return {
    namespaces: tables.of(resources.namespaces),
    serviceAccounts: tables.of(resources.serviceAccounts),
    pods: tables.of(resources.pods),
    nodes: tables.of(resources.nodes),
    services: tables.of(resources.services),
    roles: tables.of(resources.roles),
    roleBindings: tables.of(resources.roleBindings),
    clusterRoles: tables.of(resources.clusterRoles),
    clusterRoleBindings: tables.of(resources.clusterRoleBindings),
    claims: tables.of(resources.persistentVolumeClaims),
    priorityClasses: tables.of(priorityClasses),
    storageClasses: tables.of(storageClasses),
    limitRanges: tables.of(limitRanges),
    runtimeClasses: tables.of(resources.runtimeClasses),
  };
}
