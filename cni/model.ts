/** CNI's words (spec 1.1.0), and what the runner offers to an agent. */

/** Versions of the specification that the plugin and the runner speak. */
export const supportedVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof supportedVersions)[number];

/** Numbers the specification gives to errors; from 100 on they are ours. */
export const cniErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  undecodable: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  failed: 100,
  /** CHECK found something missing. */
  notAsAdded: 101,
  /** No address is left. */
  exhausted: 102,
} as const;

/** What a plugin answers instead of a result. */
export class CniError extends Error {
  override readonly name = "CniError";
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details: string = "", options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** A network configuration as one plugin gets it. */
export interface PluginConf {
  readonly cniVersion: CniVersion;
  /** The network's name. */
  readonly name: string;
  readonly type: string;
  readonly bridge: string;
  readonly mtuBytes: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  readonly isolated: boolean;
  /** Rewrite the source of what leaves for anywhere but {@link nonMasqueradeCidrs}. */
  readonly ipMasq: boolean;
  readonly nonMasqueradeCidrs: readonly string[];
  /** Let the Pod subnet through a FORWARD chain that drops what nobody accepts. */
  readonly forward: boolean;
  readonly ipam: IpamConf;
  readonly portMappings: readonly PortMapping[];
  readonly dns: Dns | undefined;
  /** CHECK: what ADD gave. */
  readonly prevResult: CniResult | undefined;
  /** GC: what is still in use. */
  readonly validAttachments: readonly AttachmentKey[];
}

export interface IpamConf {
  /** One address is taken from each set. Empty when {@link subnetFile} says. */
  readonly rangeSets: readonly (readonly IpRange[])[];
  /** A file with `FLANNEL_SUBNET=` or a CIDR in it. */
  readonly subnetFile: string | undefined;
  readonly routes: readonly Route[];
  /** Leases are kept in `<dataDir>/<network>/`. */
  readonly dataDir: string;
}

export interface IpRange {
  readonly subnet: string;
  readonly rangeStart?: string;
  readonly rangeEnd?: string;
  readonly gateway?: string;
}

export interface Route {
  readonly dst: string;
  readonly gw?: string;
}

export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

export interface PortMapping {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly hostPort: number;
  readonly containerPort: number;
  /** "" for every address of the node. */
  readonly hostIp: string;
}

/** What names one attachment of a network. */
export interface AttachmentKey {
  readonly containerId: string;
  readonly ifName: string;
}

/** What ADD gives, in the words of version 1.x; see `renderResult` for the others. */
export interface CniResult {
  readonly interfaces: readonly {
    readonly name: string;
    readonly mac?: string;
    readonly mtu?: number;
    /** The network namespace; absent for one on the host. */
    readonly sandbox?: string;
  }[];
  readonly ips: readonly {
    readonly address: string;
    readonly gateway?: string;
    readonly interface?: number;
  }[];
  readonly routes: readonly Route[];
  readonly dns: Dns;
}

/** An address that was given out. */
export interface Allocation {
  /** With the subnet's prefix: `10.244.1.5/24`. */
  readonly address: string;
  readonly gateway: string;
}

/**
 * How a runtime without a network of its own gives a sandbox one. The agent has an identical interface;
 * neither imports the other.
 */
export interface PodNetwork {
  /** True when a usable configuration is there; else why not. */
  ready(): Promise<{ readonly ready: true } | { readonly ready: false; readonly why: string }>;
  /** Runs the chain's ADD. @returns the Pod's addresses, without prefix length. */
  add(attachment: NetworkAttachment, signal: AbortSignal): Promise<{ readonly ips: readonly string[] }>;
  /** Idempotent; works without the namespace. */
  delete(attachment: NetworkAttachment, signal: AbortSignal): Promise<void>;
  /** What an earlier ADD of this sandbox gave, from the result cache. */
  addresses(sandboxId: string): Promise<readonly string[]>;
}

export interface NetworkAttachment {
  readonly sandboxId: string;
  /** `/proc/<pid>/ns/net`, or "" when it is gone. */
  readonly netnsPath: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly portMappings: readonly {
    readonly protocol: "TCP" | "UDP" | "SCTP";
    readonly containerPort: number;
    readonly hostPort: number;
    readonly hostIp: string;
  }[];
  readonly annotations: Readonly<Record<string, string>>;
}
