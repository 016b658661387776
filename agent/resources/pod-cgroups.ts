import type { Pod } from "#api/generated/kubernetes.ts";
import { childCgroups, ensureCgroup, removeCgroup } from "#linux/cgroup.ts";
import type { AgentContext } from "../agent-context.ts";
import { podCgroup, podCgroupLimits } from "../plan/container-resources.ts";

/**
 * Makes the Pod's cgroup with its limits.
 * @returns what the runtime is told as parent: a path (cgroupfs), a slice (systemd), "" when there are none.
 */
export async function ensurePodCgroup(context: AgentContext, pod: Pod): Promise<string> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined) return "";
  const group = podCgroup(pod, cgroupDriver, config.cgroupRoot);
  if (cgroupDriver === "systemd") return group; // systemd makes the slice when the runtime asks it to
  const limits = podCgroupLimits(pod);
  await ensureCgroup(cgroups, group, {
    cpuShares: limits.cpuShares,
    ...(limits.cpuQuota === undefined ? {} : { cpuQuotaUs: limits.cpuQuota }),
    ...(limits.memoryBytes === undefined ? {} : { memoryBytes: limits.memoryBytes }),
  });
  return group;
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
