import type { Pod } from "#api/generated/kubernetes.ts";
import type { PodHostname } from "./hostname.ts";

/** `/etc/hosts` of a Pod. @param nodeHosts the node's file, for Pods on the host's network. */
export function hostsFile(pod: Pod, ips: readonly string[], name: PodHostname, nodeHosts: string): string {
  const aliases = (pod.spec?.hostAliases ?? []).map(
    ({ ip, hostnames }) => `${ip}\t${(hostnames ?? []).join("\t")}`,
  );
  const added = aliases.length === 0 ? [] : ["", "# Entries added by HostAliases.", ...aliases];
  if (pod.spec?.hostNetwork === true) {
    return `${["# Kubernetes-managed hosts file (host network).", nodeHosts.replace(/\n$/, ""), ...added].join("\n")}\n`;
  }
  const fqdn =
    name.domain === ""
      ? undefined
      : name.hostname.endsWith(name.domain)
        ? name.hostname
        : `${name.hostname}.${name.domain}`;
  const own = ips.map((ip) =>
    fqdn === undefined ? `${ip}\t${name.hostname}` : `${ip}\t${fqdn}\t${name.hostname}`,
  );
  return `${["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters", ...own, ...added].join("\n")}\n`;
}
