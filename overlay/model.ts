/** The overlay's words: one subnet per node, joined by a backend. */

/** `net-conf.json`, checked and with every default filled in. */
export interface NetworkConfig {
  /** `10.5.0.0/16` */
  readonly network: string;
  /** Prefix length of one node's subnet. */
  readonly subnetLen: number;
  /** First and last subnet that may be given out, by their network address. */
  readonly subnetMin: string;
  readonly subnetMax: string;
  readonly backend: Backend;
}

export type Backend =
  | {
      readonly type: "vxlan";
      readonly vni: number;
      /** UDP port; 8472, the kernel's own default, unless given. */
      readonly port: number;
      /** MTU of the outer link, in bytes; that link's own when 0. */
      readonly mtuBytes: number;
      readonly gbp: boolean;
      readonly learning: boolean;
      /** Peers on our own link are routed to without the tunnel. */
      readonly directRouting: boolean;
    }
  | { readonly type: "host-gw" };

/** What a node says of itself in its lease. */
export interface LeaseAttributes {
  /** The node's address outside the overlay. */
  readonly publicIp: string;
  readonly backendType: string;
  /** For vxlan; undefined for host-gw. */
  readonly vtep: { readonly vni: number; readonly mac: string } | undefined;
}

/** A node's claim on a subnet. */
export interface SubnetLease {
  /** `10.5.52.0/24` */
  readonly subnet: string;
  readonly attributes: LeaseAttributes;
}

/** The link packets to other nodes leave by. */
export interface ExternalInterface {
  readonly index: number;
  readonly name: string;
  readonly mtuBytes: number;
  readonly address: string;
}

/** What the overlay owns in the kernel, keyed the way the kernel keys it. */
export interface TunnelState {
  /** VTEP MAC -> the node's address outside the tunnel. */
  readonly fdb: ReadonlyMap<string, string>;
  /** VTEP address -> its MAC; given, because nobody answers ARP on this link. */
  readonly neighbours: ReadonlyMap<string, string>;
  /** Peer subnet -> how it is reached. */
  readonly routes: ReadonlyMap<string, PeerRoute>;
}

export interface PeerRoute {
  readonly gateway: string;
  /** Through the tunnel, or straight over the external interface. */
  readonly by: "tunnel" | "direct";
}

/** One write to the kernel, in the order they are to be done. */
export type TunnelChange =
  | { readonly type: "set-fdb" | "remove-fdb"; readonly mac: string; readonly remote: string }
  | { readonly type: "set-neighbour" | "remove-neighbour"; readonly address: string; readonly mac: string }
  | { readonly type: "set-route" | "remove-route"; readonly subnet: string; readonly route: PeerRoute };

/** What cannot be set right by trying again. */
export class OverlayError extends Error {
  override readonly name = "OverlayError";
  readonly code: "bad-config" | "out-of-subnets" | "no-interface" | "no-subnet";

  constructor(code: OverlayError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Bytes VXLAN adds to a packet: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 section 5). */
export const vxlanOverheadBytes = 50;
