import { isIPv6 } from "node:net";

/**
 * A Pod's addresses as its status shows them: one of each family, the node's own first.
 * @param nodeIp the node's first address.
 * @see KEP-563
 */
export function sortPodIps(ips: readonly string[], nodeIp: string | undefined): readonly string[] {
  const nodeIsV6 = nodeIp !== undefined && isIPv6(nodeIp);
  const first = ips.find((ip) => isIPv6(ip) === nodeIsV6);
  const second = ips.find((ip) => isIPv6(ip) !== nodeIsV6);
  return [first, second].filter((ip) => ip !== undefined);
}
