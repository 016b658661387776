import { isServiceChain } from "./iptables-names.ts";

const chains: ReadonlySet<string> = new Set([
  "KUBE-SERVICES",
  "KUBE-NODEPORTS",
  "KUBE-EXTERNAL-SERVICES",
  "KUBE-FORWARD",
  "KUBE-PROXY-FIREWALL",
  "KUBE-PROXY-CANARY",
  "KUBE-POSTROUTING",
  "KUBE-MARK-MASQ",
  "KUBE-PORTALS-CONTAINER",
  "KUBE-PORTALS-HOST",
  "KUBE-NODEPORT-CONTAINER",
  "KUBE-NODEPORT-HOST",
  "KUBE-NODEPORT-NON-LOCAL",
]);

/**
 * True for a chain that some mode of a Kubernetes service proxy makes. A proxy that starts takes over from the
 * one before, whichever mode that had: what it does not need goes. KUBE-FIREWALL is the agent's as well and stays.
 */
export function isProxyChain(chain: string): boolean {
  return chains.has(chain) || isServiceChain(chain);
}
