import type { Container, Pod } from "#api/generated/kubernetes.ts";
import type { LinuxResources } from "../runtime/runtime.ts";
import type { PodLimits } from "./resize.ts";
import { limitsOf, type QosClass, qosClass, requestsOf } from "./qos.ts";

const periodUs = 100_000;

/** The kernel's limits for one container. @param memoryCapacity the node's memory in bytes. */
export function containerResources(
  pod: Pod,
  container: Container,
  memoryCapacity: number,
  minOomScoreAdj: number,
): LinuxResources {
  const limits = limitsOf(container.resources);
  const requests = requestsOf(container.resources);
  return {
    cpuShares: cpuShares(requests.cpuMilli ?? 0),
    ...(limits.cpuMilli === undefined || limits.cpuMilli === 0
      ? {}
      : { cpuQuota: cpuQuota(limits.cpuMilli), cpuPeriod: periodUs }),
    ...(limits.memoryBytes === undefined || limits.memoryBytes === 0
      ? {}
      : { memoryLimitBytes: limits.memoryBytes }),
    oomScoreAdj: Math.max(minOomScoreAdj, oomScoreAdj(pod, requests.memoryBytes ?? 0, memoryCapacity)),
  };
}

/** cgroup v1 shares for thousandths of a CPU. */
export function cpuShares(milli: number): number {
  return Math.min(262_144, Math.max(2, Math.floor((milli * 1_024) / 1_000)));
}

/** cgroup v2 weight for v1 shares, by the linear formula of the kubelet. */
export function cpuWeight(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9_999) / 262_142);
}

/** CFS quota in microseconds of a 100 ms period. */
export function cpuQuota(milli: number): number {
  return Math.max(1_000, Math.floor((milli * periodUs) / 1_000));
}

/** How early the kernel's OOM killer takes a container: the more of its request it is owed, the later. */
export function oomScoreAdj(pod: Pod, memoryRequest: number, memoryCapacity: number): number {
  const critical = (pod.spec?.priority ?? 0) >= 2_000_001_000;
  const qos = qosClass(pod);
  if (critical || qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1_000;
  const share = memoryCapacity === 0 ? 0 : Math.floor((1_000 * memoryRequest) / memoryCapacity);
  return Math.min(999, Math.max(3, 1_000 - share));
}

/** The Pod's cgroup below the root of Pods, by driver. */
export function podCgroup(pod: Pod, driver: "cgroupfs" | "systemd", root: string): string {
  const qos = qosClass(pod);
  const uid = pod.metadata?.uid ?? "";
  if (driver === "systemd") {
    const parents: Record<QosClass, string> = {
      Guaranteed: "kubepods",
      Burstable: "kubepods-burstable",
      BestEffort: "kubepods-besteffort",
    };
    return `${parents[qos]}-pod${uid.replaceAll("-", "_")}.slice`;
  }
  const parents: Record<QosClass, string> = {
    Guaranteed: "",
    Burstable: "/burstable",
    BestEffort: "/besteffort",
  };
  return `${root === "/" ? "" : root}/kubepods${parents[qos]}/pod${uid}`;
}

/** Limits of the Pod's own cgroup: the sum, where every container has one, and the RuntimeClass's overhead. */
export function podCgroupLimits(pod: Pod): PodLimits {
  const containers = pod.spec?.containers ?? [];
  const inits = pod.spec?.initContainers ?? [];
  const sidecars = inits.filter((container) => container.restartPolicy === "Always");
  const plain = inits.filter((container) => container.restartPolicy !== "Always");
  const total = (of: (container: Container) => number): number => {
    const long = [...containers, ...sidecars].reduce((sum, container) => sum + of(container), 0);
    return Math.max(long, ...plain.map(of));
  };
  const own = pod.spec?.resources;
  const everyone = [...containers, ...sidecars];
  const cpuRequest =
    requestsOf(own).cpuMilli ?? total(({ resources }) => requestsOf(resources).cpuMilli ?? 0);
  const cpuLimit =
    limitsOf(own).cpuMilli ??
    (everyone.every(({ resources }) => (limitsOf(resources).cpuMilli ?? 0) > 0)
      ? total(({ resources }) => limitsOf(resources).cpuMilli ?? 0)
      : undefined);
  const memory =
    limitsOf(own).memoryBytes ??
    (everyone.every(({ resources }) => (limitsOf(resources).memoryBytes ?? 0) > 0)
      ? total(({ resources }) => limitsOf(resources).memoryBytes ?? 0)
      : undefined);
  const over = requestsOf({ requests: pod.spec?.overhead ?? {} });
  return {
    cpuShares: cpuShares(cpuRequest + (over.cpuMilli ?? 0)),
    cpuQuota: cpuLimit === undefined ? undefined : cpuQuota(cpuLimit + (over.cpuMilli ?? 0)),
    memoryBytes: memory === undefined ? undefined : memory + (over.memoryBytes ?? 0),
  };
}
