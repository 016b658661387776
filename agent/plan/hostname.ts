import type { Pod } from "#api/generated/kubernetes.ts";

/** What a Pod calls itself. */
export interface PodHostname {
  readonly hostname: string;
  /** `<subdomain>.<namespace>.svc.<cluster domain>`, "" without a subdomain. */
  readonly domain: string;
}

/**
 * @param nodeHostname for Pods on the host's network.
 * @throws Error when setHostnameAsFQDN gives a name longer than the kernel's 64.
 */
export function podHostname(pod: Pod, clusterDomain: string, nodeHostname: string): PodHostname {
  const { spec, metadata } = pod;
  if (spec?.hostnameOverride !== undefined && spec.hostnameOverride !== "")
    return { hostname: spec.hostnameOverride, domain: "" };
  if (spec?.hostNetwork === true) return { hostname: nodeHostname, domain: "" };
  const hostname = truncated(
    spec?.hostname !== undefined && spec.hostname !== "" ? spec.hostname : (metadata?.name ?? ""),
  );
  const domain =
    spec?.subdomain !== undefined && spec.subdomain !== ""
      ? `${spec.subdomain}.${metadata?.namespace}.svc.${clusterDomain}`
      : "";
  if (spec?.setHostnameAsFQDN !== true || domain === "") return { hostname, domain };
  const fqdn = `${hostname}.${domain}`;
  if (fqdn.length > 64)
    throw new Error(
      `failed to construct FQDN from Pod hostname and cluster domain, FQDN ${fqdn} is too long (64 characters is the max, ${fqdn.length} characters requested)`,
    );
  return { hostname: fqdn, domain };
}

function truncated(name: string): string {
  return name.slice(0, 63).replace(/[-.]+$/, "");
}
