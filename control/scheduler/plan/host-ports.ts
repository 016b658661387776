import type { Pod } from "#api/generated/kubernetes.ts";

/** One port of the node that a pod takes. */
export interface HostPort {
  /** `0.0.0.0` for every address of the node. */
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

/** The node's ports that a pod takes: of its containers and of sidecars, which run as long. */
export function hostPortsOf(pod: Pod): readonly HostPort[] {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === "Always",
  );
  return [...(pod.spec?.containers ?? []), ...sidecars].flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map((port) => ({
        ip: port.hostIP === undefined || port.hostIP === "" ? "0.0.0.0" : port.hostIP,
        protocol: port.protocol ?? "TCP",
        port: port.hostPort ?? 0,
      })),
  );
}

/** True when both cannot be taken on one node: same port and protocol, and addresses that overlap. */
export function portsConflict(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || isEvery(a.ip) || isEvery(b.ip);
}

function isEvery(ip: string): boolean {
  return ip === "0.0.0.0" || ip === "::";
}
