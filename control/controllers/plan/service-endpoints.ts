import type { ObjectReference, Pod, Service, ServicePort } from "#api/generated/kubernetes.ts";
import { isPodFinished, isPodReady, podCondition } from "./pod-state.ts";
import { isoTime, timeMs } from "./times.ts";

/** Written by us on slices and Endpoints: when what they show changed in the cluster. */
export const triggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";
/** Marks what belongs to a Service without a cluster address. */
export const headlessLabel = "service.kubernetes.io/headless";

/** A port as one pod serves it: a named target port differs from pod to pod. */
export interface EndpointPortValue {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly appProtocol?: string;
}

/** One pod behind a Service, in one address family. */
export interface PodEndpoint {
  readonly ip: string;
  readonly family: "IPv4" | "IPv6";
  readonly ports: readonly EndpointPortValue[];
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly hostname?: string;
  readonly nodeName?: string;
  readonly targetRef: ObjectReference;
}

/** The pods a Service selects, as endpoints; finished pods and pods without an address are none. */
export function podEndpoints(service: Service, pods: readonly Pod[]): readonly PodEndpoint[] {
  const anyState = service.spec?.publishNotReadyAddresses === true;
  return pods.flatMap((pod) => {
    if (isPodFinished(pod)) return [];
    const terminating = pod.metadata?.deletionTimestamp !== undefined;
    const serving = isPodReady(pod);
    const hostname = hostnameFor(service, pod);
    const shared = {
      ports: portsFor(service, pod),
      ready: anyState || (serving && !terminating),
      serving,
      terminating,
      ...(hostname === undefined ? {} : { hostname }),
      ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
      targetRef: {
        kind: "Pod",
        namespace: pod.metadata?.namespace ?? "",
        name: pod.metadata?.name ?? "",
        ...(pod.metadata?.uid === undefined ? {} : { uid: pod.metadata.uid }),
      },
    };
    return addressesOf(pod).map((ip) => ({ ip, family: familyOf(ip), ...shared }));
  });
}

/** The families a Service is served in. */
export function familiesOf(service: Service): readonly ("IPv4" | "IPv6")[] {
  const given = service.spec?.ipFamilies ?? [];
  const families = given.map((family) => (family === "IPv6" ? "IPv6" : "IPv4"));
  if (families.length > 0) return families;
  return [(service.spec?.clusterIP ?? "").includes(":") ? "IPv6" : "IPv4"];
}

/** When what the Service's endpoints show last changed: a pod's readiness, or the Service itself. */
export function triggerTime(service: Service, pods: readonly Pod[]): string {
  const moments = pods.map((pod) =>
    Math.max(timeMs(podCondition(pod, "Ready")?.lastTransitionTime), timeMs(pod.metadata?.creationTimestamp)),
  );
  return isoTime(Math.max(timeMs(service.metadata?.creationTimestamp), ...moments));
}

/** What of a pod its Services' endpoints show: when this text stays, they stay. */
export function endpointFacts(pod: Pod): string {
  return JSON.stringify([
    pod.metadata?.uid,
    pod.metadata?.labels,
    pod.metadata?.deletionTimestamp !== undefined,
    isPodFinished(pod),
    isPodReady(pod),
    addressesOf(pod),
    pod.spec?.nodeName,
  ]);
}

export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === "None";
}

/** Selectorless Services and aliases have endpoints of somebody else's making, or none. */
export function hasManagedEndpoints(service: Service): boolean {
  return Object.keys(service.spec?.selector ?? {}).length > 0 && service.spec?.type !== "ExternalName";
}

function addressesOf(pod: Pod): readonly string[] {
  const ips = (pod.status?.podIPs ?? []).map(({ ip }) => ip ?? "").filter((ip) => ip !== "");
  if (ips.length > 0) return ips;
  return (pod.status?.podIP ?? "") === "" ? [] : [pod.status?.podIP ?? ""];
}

function familyOf(ip: string): "IPv4" | "IPv6" {
  return ip.includes(":") ? "IPv6" : "IPv4";
}

/** A pod of the Service's own subdomain is found by its name in DNS. */
function hostnameFor(service: Service, pod: Pod): string | undefined {
  const { hostname = "", subdomain = "" } = pod.spec ?? {};
  return hostname !== "" && subdomain === service.metadata?.name ? hostname : undefined;
}

function portsFor(service: Service, pod: Pod): readonly EndpointPortValue[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const number = targetPort(port, pod);
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? "",
        port: number,
        protocol: port.protocol ?? "TCP",
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });
}

/** @returns undefined when the pod has no port of that name: it does not serve this port. */
function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target === 0 ? port.port : target;
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...(pod.spec?.containers ?? []), ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .find(({ name, protocol }) => name === target && (protocol ?? "TCP") === (port.protocol ?? "TCP"))
    ?.containerPort;
}
