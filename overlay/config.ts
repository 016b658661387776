import { bool, type Flags, integer, list, port, text } from "#lib/flags.ts";

/** The overlay's settings: flanneld's flags and `FLANNELD_*` variables, with the same defaults. */
export interface OverlayConfig {
  readonly etcdEndpoints: readonly string[];
  readonly etcdPrefix: string;
  readonly etcdKeyfile: string;
  readonly etcdCertfile: string;
  readonly etcdCafile: string;
  readonly etcdUsername: string;
  readonly etcdPassword: string;
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: string;
  readonly subnetFile: string;
  readonly publicIp: string;
  readonly subnetLeaseRenewMarginMinutes: number;
  readonly ipMasq: boolean;
  readonly ipMasqFullyRandomDisable: boolean;
  readonly kubeSubnetMgr: boolean;
  readonly kubeAnnotationPrefix: string;
  readonly nodeName: string;
  readonly healthzIp: string;
  readonly healthzPort: number;
  readonly iptablesResyncSeconds: number;
  readonly iptablesForwardRules: boolean;
  readonly ipBlackholeRoute: boolean;
  readonly netConfigPath: string;
  readonly setNodeNetworkUnavailable: boolean;
}

export const flags: Flags<OverlayConfig> = {
  etcdEndpoints: {
    flag: "etcd-endpoints",
    parse: list,
    default: "http://127.0.0.1:4001,http://127.0.0.1:2379",
    help: "etcd's endpoints, separated by commas",
  },
  etcdPrefix: {
    flag: "etcd-prefix",
    parse: text,
    default: "/coreos.com/network",
    help: "where the network's keys are in etcd",
  },
  etcdKeyfile: { flag: "etcd-keyfile", parse: text, default: "", help: "key of our certificate for etcd" },
  etcdCertfile: { flag: "etcd-certfile", parse: text, default: "", help: "our certificate for etcd" },
  etcdCafile: {
    flag: "etcd-cafile",
    parse: text,
    default: "",
    help: "authority that signed etcd's certificate",
  },
  etcdUsername: { flag: "etcd-username", parse: text, default: "", help: "user name for etcd" },
  etcdPassword: { flag: "etcd-password", parse: text, default: "", help: "password for etcd" },
  iface: {
    flag: "iface",
    parse: list,
    default: "",
    help: "link (or its address) that leads to the other nodes; the first that exists",
  },
  ifaceRegex: {
    flag: "iface-regex",
    parse: list,
    default: "",
    help: "the first link whose address or name matches",
  },
  ifaceCanReach: {
    flag: "iface-can-reach",
    parse: text,
    default: "",
    help: "the link packets to this address leave by",
  },
  subnetFile: {
    flag: "subnet-file",
    parse: text,
    default: "/run/flannel/subnet.env",
    help: "where to write this node's subnet",
  },
  publicIp: {
    flag: "public-ip",
    parse: text,
    default: "",
    help: "address the other nodes reach us at; the link's own unless given",
  },
  subnetLeaseRenewMarginMinutes: {
    flag: "subnet-lease-renew-margin",
    parse: renewMargin,
    default: "60",
    help: "minutes before the lease's end at which it is renewed",
  },
  ipMasq: {
    flag: "ip-masq",
    parse: bool,
    default: "false",
    switch: true,
    help: "rewrite the source of what leaves the network",
  },
  ipMasqFullyRandomDisable: {
    flag: "ip-masq-fully-random-disable",
    parse: bool,
    default: "false",
    switch: true,
    help: "do not draw masqueraded source ports at random",
  },
  kubeSubnetMgr: {
    flag: "kube-subnet-mgr",
    parse: bool,
    default: "false",
    switch: true,
    help: "use the Kubernetes API in place of etcd",
  },
  kubeAnnotationPrefix: {
    flag: "kube-annotation-prefix",
    parse: text,
    default: "flannel.alpha.coreos.com",
    help: "prefix of the annotations on Nodes",
  },
  nodeName: { flag: "node-name", parse: text, default: "", help: "this node's name in the API" },
  healthzIp: {
    flag: "healthz-ip",
    parse: text,
    default: "0.0.0.0",
    help: "address of /healthz, /readyz and /metrics",
  },
  healthzPort: { flag: "healthz-port", parse: port, default: "0", help: "their port; 0 for none" },
  iptablesResyncSeconds: {
    flag: "iptables-resync",
    parse: integer,
    default: "5",
    help: "seconds between two looks at our iptables rules",
  },
  iptablesForwardRules: {
    flag: "iptables-forward-rules",
    parse: bool,
    default: "true",
    switch: true,
    help: "accept forwarded packets of the network",
  },
  ipBlackholeRoute: {
    flag: "ip-blackhole-route",
    parse: bool,
    default: "false",
    switch: true,
    help: "drop packets to addresses of our subnet that no Pod has",
  },
  netConfigPath: {
    flag: "net-config-path",
    parse: text,
    default: "/etc/kube-flannel/net-conf.json",
    help: "the network's configuration, with --kube-subnet-mgr",
  },
  setNodeNetworkUnavailable: {
    flag: "set-node-network-unavailable",
    parse: bool,
    default: "true",
    switch: true,
    help: "set the Node's condition NetworkUnavailable to False",
  },
};

function renewMargin(value: string): number {
  const minutes = integer(value);
  if (minutes < 1 || minutes > 1_439) throw new Error("want minutes from 1 to 1439: a lease lasts a day");
  return minutes;
}
