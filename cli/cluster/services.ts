import path from "node:path";
import { formatAddress, parseCidr } from "#lib/ip.ts";
import type { UpSettings } from "./settings.ts";

export type ServiceName = "containerd" | "control" | "node";

/** One background process of the cluster. */
export interface ServiceSpec {
  readonly name: ServiceName;
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly description: string;
  /** Units that must be there first. */
  readonly after: readonly string[];
}

/** What `up` found out about this machine, beside what it was asked for. */
export interface Machine {
  readonly nodeName: string;
  readonly nodeIp: string;
  /** The launcher: `dist/keelson`. */
  readonly program: string;
  readonly runtime:
    | { readonly kind: "cri"; readonly endpoint: string; readonly own: false }
    | { readonly kind: "cri"; readonly endpoint: string; readonly own: true; readonly config: string }
    | { readonly kind: "docker"; readonly endpoint: string };
}

/** The processes of a standalone cluster, in the order in which they start. Pure. */
export function planServices(settings: UpSettings, machine: Machine): readonly ServiceSpec[] {
  const { runtime } = machine;
  const runtimeFlag =
    runtime.kind === "docker"
      ? flag("docker-endpoint", runtime.endpoint)
      : flag("container-runtime-endpoint", runtime.endpoint);
  const dns = dnsAddress(settings.serviceCidr);
  const own: readonly ServiceSpec[] =
    runtime.kind === "cri" && runtime.own
      ? [
          {
            name: "containerd",
            command: ["containerd", "--config", runtime.config],
            description: "containerd for Keelson",
            after: [],
          },
        ]
      : [];
  return [
    ...own,
    {
      name: "control",
      description: "Keelson control plane",
      after: [],
      command: [
        machine.program,
        "control",
        ...flag("data-dir", settings.dataDir),
        ...flag("config-dir", settings.configDir),
        ...flag("advertise-address", machine.nodeIp),
        ...flag("secure-port", String(settings.apiPort)),
        ...(settings.insecurePort === 0 ? [] : flag("insecure-port", String(settings.insecurePort))),
        ...flag("service-cluster-ip-range", settings.serviceCidr),
        ...flag("cluster-cidr", settings.clusterCidr),
        ...flag("cluster-dns", dns),
        ...flag("node-name", machine.nodeName),
        ...(settings.tlsSan.length === 0 ? [] : flag("tls-san", settings.tlsSan.join(","))),
      ],
    },
    {
      name: "node",
      description: "Keelson node: agent, proxy and pod network",
      after: own.map((service) => service.name),
      command: [
        machine.program,
        "node",
        ...flag("kubeconfig", path.join(settings.configDir, "node.kubeconfig")),
        ...flag("hostname-override", machine.nodeName),
        ...flag("node-ip", machine.nodeIp),
        ...runtimeFlag,
        ...flag("root-dir", settings.rootDir),
        ...flag("cgroup-root", settings.cgroupRoot),
        ...flag("control-socket", path.join(settings.runDir, "agent.sock")),
        // A cluster on a laptop should come up: keelson doctor warns about swap instead.
        ...flag("fail-swap-on", "false"),
        ...flag("pod-manifest-path", settings.podManifestPath),
        ...flag("pod-cache", settings.podCache),
        ...flag("cluster-dns", dns),
        ...flag("client-ca-file", path.join(settings.dataDir, "pki/ca.crt")),
        ...flag("proxy-mode", settings.proxyMode),
        ...flag("cluster-cidr", settings.clusterCidr),
        ...flag("service-cluster-ip-range", settings.serviceCidr),
      ],
    },
  ];
}

/** The tenth address of the service range, where cluster DNS lives. */
export function dnsAddress(serviceCidr: string): string {
  const { family, first } = parseCidr(serviceCidr);
  return formatAddress({ family, value: first + 10n });
}

function flag(name: string, value: string): readonly string[] {
  return [`--${name}=${value}`];
}
