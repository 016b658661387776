/** One value under /proc/sys. */
export interface Sysctl {
  /** `net/netfilter/nf_conntrack_max` */
  readonly path: string;
  readonly value: number;
  /** True: a value already higher stays. */
  readonly onlyRaise: boolean;
  /** True: not every kernel has it, and its absence is nothing to report. */
  readonly mayLack?: boolean;
}

/** What the sysctls follow from; times in milliseconds, 0 leaves a timeout alone. */
export interface SysctlSettings {
  readonly conntrackMaxPerCore: number;
  readonly conntrackMin: number;
  readonly conntrackTcpEstablishedMs: number;
  readonly conntrackTcpCloseWaitMs: number;
  readonly conntrackTcpBeLiberal: boolean;
  readonly conntrackUdpTimeoutMs: number;
  readonly conntrackUdpStreamTimeoutMs: number;
  readonly routeLocalnet: boolean;
}

/** Kernel settings the proxy wants on a machine with this many cores. */
export function planSysctls(settings: SysctlSettings, cores: number): readonly Sysctl[] {
  const timeout = (name: string, ms: number): Sysctl[] =>
    ms === 0
      ? []
      : [{ path: `net/netfilter/nf_conntrack_${name}`, value: Math.ceil(ms / 1_000), onlyRaise: false }];
  const max = Math.max(settings.conntrackMin, settings.conntrackMaxPerCore * cores);
  return [
    ...(settings.conntrackMaxPerCore === 0
      ? []
      : [{ path: "net/netfilter/nf_conntrack_max", value: max, onlyRaise: true }]),
    ...timeout("tcp_timeout_established", settings.conntrackTcpEstablishedMs),
    ...timeout("tcp_timeout_close_wait", settings.conntrackTcpCloseWaitMs),
    ...timeout("udp_timeout", settings.conntrackUdpTimeoutMs),
    ...timeout("udp_timeout_stream", settings.conntrackUdpStreamTimeoutMs),
    ...(settings.conntrackTcpBeLiberal
      ? [{ path: "net/netfilter/nf_conntrack_tcp_be_liberal", value: 1, onlyRaise: true }]
      : []),
    // Pods on one bridge answer each other below IP: without this the answer is not translated back. It also
    // needs the br_netfilter module; a machine without a bridge does not have the file.
    { path: "net/bridge/bridge-nf-call-iptables", value: 1, onlyRaise: true, mayLack: true },
    ...(settings.routeLocalnet
      ? [{ path: "net/ipv4/conf/all/route_localnet", value: 1, onlyRaise: true }]
      : []),
  ];
}
