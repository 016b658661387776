import type { Pod } from "#api/generated/kubernetes.ts";
import { type CgroupLimits, childCgroups, ensureCgroup, readCgroup, removeCgroup } from "#linux/cgroup.ts";
import type { AgentContext } from "../agent-context.ts";
import { podCgroup, podCgroupLimits } from "../plan/container-resources.ts";
import { podHugePages } from "../plan/huge-pages.ts";
import { limitsMeanwhile, type PodLimits } from "../plan/resize.ts";
import type { PodEntry } from "../pod-entry.ts";

/** The parent that the runtime is told: a path (cgroupfs), a slice (systemd), "" when there are no cgroups of Pods. */
export function cgroupParentOf({ config, cgroups, cgroupDriver }: AgentContext, pod: Pod): string {
  if (!config.cgroupsPerQos || cgroups === undefined) return "";
  return podCgroup(pod, cgroupDriver, config.cgroupRoot);
}

/** Makes the Pod's cgroup with its limits. A slice of systemd is made when the runtime asks for it. */
export async function ensurePodCgroup(context: AgentContext, entry: PodEntry): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return;
  const limits = podCgroupLimits(entry.pod);
  const fixed = {
    ...(config.podPidsLimit > 0 ? { pids: config.podPidsLimit } : {}),
    hugePageBytes: podHugePages(entry.pod, context.node.hugePages),
  };
  // While a resize goes on, some containers still have what they had.
  const before = entry.settled === entry.allocation ? undefined : await readPodLimits(context, entry.pod);
  const now = written(before === undefined ? limits : limitsMeanwhile(before, limits));
  await ensureCgroup(cgroups, cgroupParentOf(context, entry.pod), { ...now, ...fixed });
}

/** The limits of the Pod's cgroup as the kernel has them; undefined when it has none of its own that we write. */
export async function readPodLimits(context: AgentContext, pod: Pod): Promise<PodLimits | undefined> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return undefined;
  const limits = await readCgroup(cgroups, podCgroup(pod, cgroupDriver, config.cgroupRoot));
  return (
    limits && {
      cpuShares: limits.cpuShares,
      cpuQuota: limits.cpuQuotaUs,
      memoryBytes: limits.memoryBytes,
    }
  );
}

/** Changes the limits of a Pod's cgroup that is there. */
export async function writePodLimits(context: AgentContext, pod: Pod, limits: PodLimits): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (cgroups === undefined) return;
  const { cpuQuotaUs = -1, memoryBytes = -1, ...shares } = written(limits);
  await ensureCgroup(cgroups, podCgroup(pod, cgroupDriver, config.cgroupRoot), {
    ...shares,
    cpuQuotaUs,
    memoryBytes,
  });
}

function written({ cpuShares, cpuQuota, memoryBytes }: PodLimits): CgroupLimits {
  return {
    ...(cpuShares === undefined ? {} : { cpuShares }),
    ...(cpuQuota === undefined ? {} : { cpuQuotaUs: cpuQuota }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
  };
}

/** Removes the Pod's cgroup, once nothing runs in it. */
export async function removePodCgroup(context: AgentContext, pod: Pod): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return;
  await removeCgroup(cgroups, podCgroup(pod, cgroupDriver, config.cgroupRoot));
}

/** Removes the cgroups of Pods that nobody knows: an agent that died may have left them. One with processes stays. */
export async function removeOrphanCgroups(
  context: AgentContext,
  isKnown: (podUid: string) => boolean,
): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return;
  for (const qos of ["", "/burstable", "/besteffort"]) {
    const parent = `${kubepods(config.cgroupRoot)}${qos}`;
    for (const name of await childCgroups(cgroups, parent)) {
      if (!name.startsWith("pod") || isKnown(name.slice(3))) continue;
      await removeCgroup(cgroups, `${parent}/${name}`);
    }
  }
}

/** The parents of all Pods: one for all, one each for Burstable and BestEffort. */
export async function ensureQosCgroups(context: AgentContext): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return;
  const root = kubepods(config.cgroupRoot);
  await ensureCgroup(cgroups, root, {});
  await ensureCgroup(cgroups, `${root}/burstable`, { cpuShares: 2 });
  await ensureCgroup(cgroups, `${root}/besteffort`, { cpuShares: 2 });
}

function kubepods(root: string): string {
  return `${root === "/" ? "" : root}/kubepods`;
}
