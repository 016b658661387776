import type { SandboxConfig } from "../runtime.ts";

/** The `/etc/resolv.conf` of a Pod. */
export function formatResolvConf(dns: SandboxConfig["dns"]): string {
  const lines = [
    ...dns.servers.map((server) => `nameserver ${server}`),
    ...(dns.searches.length === 0 ? [] : [`search ${dns.searches.join(" ")}`]),
    ...(dns.options.length === 0 ? [] : [`options ${dns.options.join(" ")}`]),
  ];
  return `${lines.join("\n")}\n`;
}
