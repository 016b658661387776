import type { Pod, Service } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { endpointSlices, endpoints as endpointsResource, nodes, services } from "#api/resources.ts";
import { hasLabels } from "#api/selectors.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { managedByLabel, planSlices, serviceNameLabel, sliceManager } from "./plan/endpoint-slices.ts";
import { planEndpoints } from "./plan/endpoint-subsets.ts";
import { endpointFacts, hasManagedEndpoints, podEndpoints, triggerTime } from "./plan/service-endpoints.ts";
import { podIndexes, podsWithLabels } from "./pod-indexes.ts";

/** Writes the EndpointSlices of every Service as soon as a pod behind it changes. */
export function endpointSliceController(ports: ControllerPorts): Controller {
  const { client, tables } = ports;
  const slices = tables.of(endpointSlices);
  const nodeTable = tables.of(nodes);
  const slicesOf = slices.index("by-service", (slice) =>
    slice.metadata?.labels?.[managedByLabel] === sliceManager
      ? [`${slice.metadata.namespace ?? ""}/${slice.metadata.labels[serviceNameLabel] ?? ""}`]
      : [],
  );
  const { pods, queue, table } = servicesByPod(ports);
  slices.subscribe((_, now, before) => {
    const { namespace = "", labels = {} } = (now ?? before)?.metadata ?? {};
    const name = labels[serviceNameLabel];
    if (name !== undefined && labels[managedByLabel] === sliceManager) queue.add(`${namespace}/${name}`);
  });

  const zoneOf = (node: string): string | undefined =>
    nodeTable.get(node)?.metadata?.labels?.["topology.kubernetes.io/zone"];

  return {
    name: "endpointslice",
    queue,
    workers: 5,
    step: async (key, signal) => {
      const service = table.get(key);
      const existing = slicesOf.of(key).filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
      if (service === undefined || service.metadata?.deletionTimestamp !== undefined) {
        if (service === undefined) for (const slice of existing) await remove(slice, signal);
        return;
      }
      if (!hasManagedEndpoints(service)) return;
      const selected = selectedPods(pods, service);
      const wanted = podEndpoints(service, selected);
      const plan = planSlices(service, wanted, existing, zoneOf, triggerTime(service, selected));
      // New places first: an endpoint that moves between slices is never in none.
      for (const slice of plan.create) slices.wrote(await client.create(endpointSlices, slice, {}, signal));
      for (const slice of plan.update) slices.wrote(await client.update(endpointSlices, slice, {}, signal));
      for (const slice of plan.delete) await remove(slice, signal);
    },
  };

  async function remove(slice: Parameters<typeof slices.deleting>[0], signal: AbortSignal): Promise<void> {
    try {
      await client.delete(endpointSlices, keyOf(slice), {}, signal);
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
    slices.deleting(slice);
  }
}

/** Writes the Endpoints object of every Service: the form that older programs read. */
export function endpointsController(ports: ControllerPorts): Controller {
  const { client, tables } = ports;
  const objects = tables.of(endpointsResource);
  const { pods, queue, table } = servicesByPod(ports);
  objects.subscribe((key) => queue.add(key));

  return {
    name: "endpoints",
    queue,
    workers: 5,
    step: async (key, signal) => {
      const service = table.get(key);
      const existing = objects.get(key);
      if (service === undefined) {
        // Only what we made: others keep Endpoints without a Service, for leader election for instance.
        if (existing?.metadata?.labels?.["endpoints.kubernetes.io/managed-by"] !== "endpoint-controller")
          return;
        if (existing.metadata.deletionTimestamp !== undefined) return;
        try {
          await client.delete(endpointsResource, keyOf(existing), {}, signal);
        } catch (cause) {
          if (!isReason(cause, "NotFound")) throw cause;
        }
        objects.deleting(existing);
        return;
      }
      if (service.metadata?.deletionTimestamp !== undefined || !hasManagedEndpoints(service)) return;
      const selected = selectedPods(pods, service);
      const wanted = podEndpoints(service, selected);
      const next = planEndpoints(service, wanted, existing, triggerTime(service, selected));
      if (next === undefined) return;
      objects.wrote(
        existing === undefined
          ? await client.create(endpointsResource, next, {}, signal)
          : await client.update(endpointsResource, next, {}, signal),
      );
    },
  };
}

/** A queue of Services that is marked by changes of them and of pods they select. */
function servicesByPod(ports: ControllerPorts): {
  readonly pods: ReturnType<typeof podIndexes>;
  readonly queue: ReturnType<typeof controllerQueue>;
  readonly table: ReturnType<typeof ports.tables.of<Service>>;
} {
  const { tables, clock } = ports;
  const table = tables.of(services);
  const byNamespace = table.index("by-namespace", (service) => [service.metadata?.namespace ?? ""]);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  table.subscribe((key) => queue.add(key));
  pods.table.subscribe((_, now, before) => {
    if (now !== undefined && before !== undefined && endpointFacts(now) === endpointFacts(before)) return;
    for (const service of byNamespace.of((now ?? before)?.metadata?.namespace ?? "")) {
      const selector = service.spec?.selector ?? {};
      if (Object.keys(selector).length === 0) continue;
      const isAffected = [now, before].some(
        (pod) => pod !== undefined && hasLabels(selector, pod.metadata?.labels),
      );
      if (isAffected) queue.add(keyText(keyOf(service)));
    }
  });
  return { pods, queue, table };
}

function selectedPods(pods: ReturnType<typeof podIndexes>, service: Service): readonly Pod[] {
  return podsWithLabels(pods, service.metadata?.namespace ?? "", service.spec?.selector ?? {});
}
