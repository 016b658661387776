import { milliValue, quantityValue } from "#api/quantity.ts";
import type { Pod, ResourceFieldSelector } from "#api/generated/kubernetes.ts";

/** What a container may learn about its Pod besides the Pod itself. */
export interface DownwardFacts {
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** What stands in for a limit that is not set: the node's allocatable. */
  readonly allocatable: {
    readonly cpuMilli: number;
    readonly memoryBytes: number;
    readonly ephemeralStorageBytes: number;
  };
}

/**
 * The text of a `fieldRef`.
 * @throws Error when the path is not one that Kubernetes knows.
 */
export function podField(pod: Pod, fieldPath: string, facts: DownwardFacts): string {
  const { metadata, spec } = pod;
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (subscript !== null) {
    const map = subscript[1] === "labels" ? metadata?.labels : metadata?.annotations;
    return map?.[subscript[2] ?? ""] ?? "";
  }
  switch (fieldPath) {
    case "metadata.name":
      return metadata?.name ?? "";
    case "metadata.namespace":
      return metadata?.namespace ?? "";
    case "metadata.uid":
      return metadata?.uid ?? "";
    case "metadata.labels":
      return formatMap(metadata?.labels ?? {});
    case "metadata.annotations":
      return formatMap(metadata?.annotations ?? {});
    case "spec.nodeName":
      return facts.nodeName;
    case "spec.serviceAccountName":
      return spec?.serviceAccountName ?? "";
    case "status.hostIP":
      return facts.hostIps[0] ?? "";
    case "status.hostIPs":
      return facts.hostIps.join(",");
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    default:
      throw new Error(`field label not supported: ${fieldPath}`);
  }
}

/**
 * The number of a `resourceFieldRef`, divided and rounded up.
 * @throws Error for a container or a resource that is not there.
 */
export function resourceField(
  pod: Pod,
  selector: ResourceFieldSelector,
  ownContainer: string | undefined,
  facts: DownwardFacts,
): string {
  const name =
    selector.containerName === undefined || selector.containerName === ""
      ? ownContainer
      : selector.containerName;
  const container = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].find(
    (one) => one.name === name,
  );
  if (container === undefined) throw new Error(`container ${name} not found`);
  const [kind = "", ...rest] = selector.resource.split(".");
  const resource = rest.join(".");
  const isKnown = /^(?:cpu|memory|ephemeral-storage|hugepages-.+)$/.test(resource);
  if ((kind !== "limits" && kind !== "requests") || !isKnown)
    throw new Error(`unsupported container resource : ${selector.resource}`);
  const written = container.resources?.limits?.[resource];
  // None, or none to speak of: the node's room is what limits it.
  const limit = written !== undefined && quantityValue(written) === 0 ? undefined : written;
  const own = kind === "limits" ? limit : (container.resources?.requests?.[resource] ?? limit);
  const divisor =
    selector.divisor === undefined || selector.divisor === "0" || selector.divisor === ""
      ? "1"
      : selector.divisor;
  if (resource === "cpu") {
    const milli = own === undefined ? (kind === "limits" ? facts.allocatable.cpuMilli : 0) : milliValue(own);
    return String(Math.ceil(milli / milliValue(divisor)));
  }
  const standard =
    kind === "limits"
      ? resource === "memory"
        ? facts.allocatable.memoryBytes
        : resource === "ephemeral-storage"
          ? facts.allocatable.ephemeralStorageBytes
          : 0
      : 0;
  return String(Math.ceil((own === undefined ? standard : quantityValue(own)) / quantityValue(divisor)));
}

/** `key="value"` lines, sorted: the file form of labels and annotations. */
export function formatMap(map: Readonly<Record<string, string>>): string {
  return Object.keys(map)
    .toSorted()
    .map((key) => `${key}=${JSON.stringify(map[key] ?? "")}`)
    .join("\n");
}
