import { kubernetesVersion } from "#api/version.ts";

const minor = /^v(\d+\.\d+)/.exec(kubernetesVersion)?.[1] ?? "";

/** How probes name themselves; servers tell them from users by it. */
export const probeUserAgent: string = `kube-probe/${minor}`;

/** How lifecycle hooks name themselves. */
export const hookUserAgent: string = `kube-lifecycle/${minor}`;
