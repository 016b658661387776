import { milliValue, quantityValue } from "#api/quantity.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { PodVerdict } from "../model.ts";
import { requestsOf } from "./qos.ts";
import { portMappings } from "./sandbox-config.ts";

/** What a Pod has to fit into. */
export interface NodeRoom {
  readonly cpuMilli: number;
  readonly memoryBytes: number;
  readonly pods: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly allowedUnsafeSysctls: readonly string[];
}

const safeSysctls = [
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
];

/**
 * Whether a Pod that was bound to this node may run here.
 * @param others Pods that have been admitted and have not ended.
 * @returns why not, as the Pod's final status.
 */
export function admissionRefusal(pod: Pod, others: readonly Pod[], room: NodeRoom): PodVerdict | undefined {
  const os = pod.spec?.os?.name;
  if (os !== undefined && os !== "linux")
    return refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
  for (const [key, value] of Object.entries(pod.spec?.nodeSelector ?? {})) {
    if (room.labels[key] !== value)
      return refused(
        "NodeAffinity",
        "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
      );
  }
  const hostNamespaces = pod.spec?.hostNetwork === true || pod.spec?.hostIPC === true;
  for (const { name } of pod.spec?.securityContext?.sysctls ?? []) {
    if (!mayUse(name, room.allowedUnsafeSysctls))
      return refused("SysctlForbidden", `forbidden sysctl: "${name}" not allowlisted`);
    if (hostNamespaces && pod.spec?.hostNetwork === true && name.startsWith("net."))
      return refused("SysctlForbidden", `forbidden sysctl: "${name}" not allowed with host net enabled`);
  }
  const taken = new Set(others.flatMap(hostPorts));
  if (hostPorts(pod).some((port) => taken.has(port)))
    return refused(
      "NodePorts",
      "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    );
  if (others.length + 1 > room.pods) return outOf("pods", 1, others.length, room.pods);
  const used = others.map(podRequests);
  const own = podRequests(pod);
  const cpu = used.reduce((sum, one) => sum + one.cpuMilli, 0);
  if (own.cpuMilli > 0 && cpu + own.cpuMilli > room.cpuMilli)
    return outOf("cpu", own.cpuMilli, cpu, room.cpuMilli);
  const memory = used.reduce((sum, one) => sum + one.memoryBytes, 0);
  if (own.memoryBytes > 0 && memory + own.memoryBytes > room.memoryBytes)
    return outOf("memory", own.memoryBytes, memory, room.memoryBytes);
  return undefined;
}

/** What a Pod asks for: app containers and sidecars together, or one init container when that is more. */
export function podRequests(pod: Pod): { readonly cpuMilli: number; readonly memoryBytes: number } {
  const of = (list: NonNullable<Pod["spec"]>["containers"]) =>
    list.map(({ resources }) => requestsOf(resources));
  const inits = pod.spec?.initContainers ?? [];
  const long = of([
    ...(pod.spec?.containers ?? []),
    ...inits.filter(({ restartPolicy }) => restartPolicy === "Always"),
  ]);
  const short = of(inits.filter(({ restartPolicy }) => restartPolicy !== "Always"));
  const overhead = pod.spec?.overhead ?? {};
  return {
    cpuMilli:
      Math.max(
        long.reduce((sum, one) => sum + (one.cpuMilli ?? 0), 0),
        ...short.map((one) => one.cpuMilli ?? 0),
      ) + milliValue(overhead["cpu"] ?? "0"),
    memoryBytes:
      Math.max(
        long.reduce((sum, one) => sum + (one.memoryBytes ?? 0), 0),
        ...short.map((one) => one.memoryBytes ?? 0),
      ) + quantityValue(overhead["memory"] ?? "0"),
  };
}

function hostPorts(pod: Pod): readonly string[] {
  const own =
    pod.spec?.hostNetwork === true
      ? (pod.spec.containers ?? []).flatMap((container) =>
          (container.ports ?? []).map((port) => `${port.protocol ?? "TCP"}/${port.containerPort}`),
        )
      : [];
  return [...own, ...portMappings(pod).map(({ protocol, hostPort }) => `${protocol}/${hostPort}`)];
}

function mayUse(name: string, allowed: readonly string[]): boolean {
  return (
    safeSysctls.includes(name) ||
    allowed.some((pattern) =>
      pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
    )
  );
}

function outOf(resource: string, requested: number, used: number, capacity: number): PodVerdict {
  return refused(
    `OutOf${resource}`,
    `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  );
}

function refused(reason: string, message: string): PodVerdict {
  return { phase: "Failed", reason, message: `Pod was rejected: ${message}` };
}
