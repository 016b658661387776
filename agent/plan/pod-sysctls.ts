import type { Pod } from "#api/generated/kubernetes.ts";

/** Those that a namespace of the Pod's own holds: they reach nobody else. */
const safeSysctls = [
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
];

/** The Pod's kernel settings by name with dots: `net/ipv4/tcp_syncookies` is the same as `net.ipv4.tcp_syncookies`. */
export function podSysctls(pod: Pod): Readonly<Record<string, string>> {
  const given = pod.spec?.securityContext?.sysctls ?? [];
  return Object.fromEntries(given.map(({ name, value }) => [withDots(name), value]));
}

/**
 * Why the Pod may not have a kernel setting that it asks for; undefined when it may have all.
 * @param allowed names beyond the safe ones, or their beginnings with a star.
 */
export function sysctlRefusal(pod: Pod, allowed: readonly string[]): string | undefined {
  for (const name of Object.keys(podSysctls(pod))) {
    if (!mayUse(name, allowed)) return `forbidden sysctl: "${name}" not allowlisted`;
    // They would change the node itself.
    if (pod.spec?.hostNetwork === true && name.startsWith("net."))
      return `forbidden sysctl: "${name}" not allowed with host net enabled`;
    if (pod.spec?.hostIPC === true && isIpc(name))
      return `forbidden sysctl: "${name}" not allowed with host ipc enabled`;
  }
  return undefined;
}

function mayUse(name: string, allowed: readonly string[]): boolean {
  return (
    safeSysctls.includes(name) ||
    allowed
      .map(withDots)
      .some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern))
  );
}

/** As sysctl(8) reads it: the first separator says which of the two this name is written with. */
function withDots(name: string): string {
  if (/[./]/.exec(name)?.[0] !== "/") return name;
  return name.replaceAll(/[./]/g, (separator) => (separator === "/" ? "." : "/"));
}

function isIpc(name: string): boolean {
  return /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(name);
}
