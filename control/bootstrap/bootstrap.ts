import type { ApiClient } from "#api/client.ts";
import type { PriorityClass } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import * as resources from "#api/resources.ts";
import { systemPriorityClasses } from "../admission/priority.ts";
import * as rbac from "../auth/plan/bootstrap-roles.ts";
import { ensureExists, ensureFields } from "./ensure.ts";
import {
  apiEndpointSlice,
  apiEndpoints,
  apiService,
  dnsEndpointSlice,
  dnsService,
  firstNamespaces,
  type Published,
} from "./plan/first-objects.ts";

/** PriorityClass of scheduling.k8s.io/v1. */
export const priorityClasses: Resource<PriorityClass> = {
  group: "scheduling.k8s.io",
  version: "v1",
  plural: "priorityclasses",
  kind: "PriorityClass",
  namespaced: false,
};

/**
 * Writes what every cluster starts with, where it is missing: namespaces, roles and bindings, priority classes,
 * and the Services of the API and of DNS. What is there stays as it is.
 */
export async function bootstrap(client: ApiClient, published: Published, signal: AbortSignal): Promise<void> {
  await Promise.all(firstNamespaces.map((one) => ensureExists(client, resources.namespaces, one, signal)));
  await Promise.all([
    ...rbac.clusterRoles.map((one) => ensureExists(client, resources.clusterRoles, one, signal)),
    ...rbac.clusterRoleBindings.map((one) =>
      ensureExists(client, resources.clusterRoleBindings, one, signal),
    ),
    ...rbac.roles.map((one) => ensureExists(client, resources.roles, one, signal)),
    ...rbac.roleBindings.map((one) => ensureExists(client, resources.roleBindings, one, signal)),
    ...systemPriorityClasses.map((one) => ensureExists(client, priorityClasses, one, signal)),
    publish(client, published, signal),
  ]);
}

/**
 * Makes the two Services lead to us: they exist, and their endpoints are our addresses. A loopback address is
 * nobody else's way to us, and the API refuses it: then they have no endpoints.
 */
export async function publish(client: ApiClient, published: Published, signal: AbortSignal): Promise<void> {
  const { services, endpoints, endpointSlices } = resources;
  await ensureExists(client, services, apiService(published), signal);
  const sliceFields = ["addressType", "endpoints", "ports"] as const;
  if (!published.advertiseAddress.startsWith("127.")) {
    await ensureFields(client, endpoints, apiEndpoints(published), ["subsets"], signal);
    await ensureFields(client, endpointSlices, apiEndpointSlice(published), sliceFields, signal);
  }
  if (published.dns === undefined) return;
  await ensureExists(client, services, dnsService(published.dns.serviceIp), signal);
  if (published.dns.address.startsWith("127.")) return;
  await ensureFields(client, endpointSlices, dnsEndpointSlice(published.dns), sliceFields, signal);
}
