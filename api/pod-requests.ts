import type { Container, Pod } from "./generated/kubernetes.ts";
import { milliValue, quantityValue } from "./quantity.ts";

/** Amounts by resource name: CPU in thousandths of a core, everything else in whole units (bytes, counts). */
export type Amounts = Readonly<Record<string, number>>;

/** Reads quantities as {@link Amounts}. */
export function amountsOf(quantities: Readonly<Record<string, string>> | undefined): Amounts {
  return Object.fromEntries(
    Object.entries(quantities ?? {}).map(([name, text]) => [
      name,
      name === "cpu" ? milliValue(text) : quantityValue(text),
    ]),
  );
}

/** Adds `sign` times `more` to `amounts`. */
export function plusAmounts(amounts: Amounts, more: Amounts, sign: 1 | -1 = 1): Amounts {
  const sum: Record<string, number> = { ...amounts };
  for (const [name, value] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + sign * value;
  return sum;
}

/**
 * What a pod asks of its node: containers and sidecars run together; init containers run one after another
 * beside the sidecars that started before them, so each resource needs the larger of both; plus overhead.
 * Requests for the pod as a whole replace the sum (KEP-2837).
 * @see KEP-753 for the rule with sidecars.
 */
export function podRequests(pod: Pod): Amounts {
  const spec = pod.spec;
  let running: Amounts = {};
  for (const container of spec?.containers ?? []) running = plusAmounts(running, requestsOf(container));
  let sidecars: Amounts = {};
  let initPeak: Amounts = {};
  for (const container of spec?.initContainers ?? []) {
    const requests = requestsOf(container);
    if (container.restartPolicy === "Always") {
      sidecars = plusAmounts(sidecars, requests);
      initPeak = largest(initPeak, sidecars);
    } else initPeak = largest(initPeak, plusAmounts(sidecars, requests));
  }
  const containers = largest(plusAmounts(running, sidecars), initPeak);
  const whole = { ...containers, ...amountsOf(spec?.resources?.requests) };
  return plusAmounts(whole, amountsOf(spec?.overhead));
}

/**
 * What a Pod takes of its node while it is resized (KEP-1287): of each container the most of what its spec asks for,
 * what was granted and what is in effect. What the node has refused for good does not count.
 */
export function heldRequests(pod: Pod): Amounts {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const refused = pod.status?.conditions?.some(
    ({ type, reason }) => type === "PodResizePending" && reason === "Infeasible",
  );
  const held = (container: Container): Container => {
    const status = statuses.find(({ name }) => name === container.name);
    const granted = largest(amountsOf(status?.allocatedResources), amountsOf(status?.resources?.requests));
    if (Object.keys(granted).length === 0) return container;
    const most = refused === true ? granted : largest(requestsOf(container), granted);
    const requests = Object.fromEntries(
      Object.entries({ ...requestsOf(container), ...most }).map(([name, amount]) => [
        name,
        name === "cpu" ? `${amount}m` : String(amount),
      ]),
    );
    return { ...container, resources: { ...container.resources, requests } };
  };
  if (pod.spec === undefined || statuses.length === 0) return podRequests(pod);
  const { initContainers, containers } = pod.spec;
  return podRequests({
    ...pod,
    spec: {
      ...pod.spec,
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(held) }),
      containers: containers.map(held),
    },
  });
}

function requestsOf(container: Container): Amounts {
  return { ...amountsOf(container.resources?.limits), ...amountsOf(container.resources?.requests) };
}

function largest(a: Amounts, b: Amounts): Amounts {
  const result: Record<string, number> = { ...a };
  for (const [name, value] of Object.entries(b)) result[name] = Math.max(result[name] ?? 0, value);
  return result;
}
