import type { Pod } from "#api/generated/kubernetes.ts";
import { ensureCgroup, removeCgroup } from "#linux/cgroup.ts";
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

/** The parents of all Pods: one for all, one each for Burstable and BestEffort. */
export async function ensureQosCgroups(context: AgentContext): Promise<void> {
  const { config, cgroups, cgroupDriver } = context;
  if (!config.cgroupsPerQos || cgroups === undefined || cgroupDriver === "systemd") return;
  const root = `${config.cgroupRoot === "/" ? "" : config.cgroupRoot}/kubepods`;
  await ensureCgroup(cgroups, root, {});
  await ensureCgroup(cgroups, `${root}/burstable`, { cpuShares: 2 });
  await ensureCgroup(cgroups, `${root}/besteffort`, { cpuShares: 2 });
}
