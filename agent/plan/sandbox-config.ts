import type { Pod } from "#api/generated/kubernetes.ts";
import type { PortMapping, SandboxConfig } from "../runtime/runtime.ts";
import { annotation, label } from "./names.ts";
import type { DnsConfig } from "./resolv-conf.ts";
import { podSysctls } from "./pod-sysctls.ts";
import type { IdRange } from "./user-namespace-range.ts";
import { sandboxSecurity } from "./security-context.ts";

/** What a sandbox is configured from besides its Pod. */
export interface SandboxInput {
  readonly attempt: number;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dns: DnsConfig;
  readonly cgroupParent: string;
  /** The host's ids of the Pod's user namespace; undefined where it has the host's own. */
  readonly userNamespace: IdRange | undefined;
}

/** What the runtime is asked to make for a Pod. */
export function sandboxConfig(pod: Pod, input: SandboxInput): SandboxConfig {
  const { metadata, spec } = pod;
  const network = spec?.hostNetwork === true ? "node" : "pod";
  return {
    podName: metadata?.name ?? "",
    podNamespace: metadata?.namespace ?? "",
    podUid: metadata?.uid ?? "",
    attempt: input.attempt,
    hostname: network === "node" ? "" : input.hostname,
    logDirectory: input.logDirectory,
    dns: input.dns,
    portMappings: network === "node" ? [] : portMappings(pod),
    labels: { ...metadata?.labels, ...podLabels(pod) },
    annotations: {
      ...metadata?.annotations,
      [annotation.podGraceSeconds]: String(spec?.terminationGracePeriodSeconds ?? 30),
    },
    cgroupParent: input.cgroupParent,
    network,
    pid: spec?.hostPID === true ? "node" : spec?.shareProcessNamespace === true ? "pod" : "container",
    ipc: spec?.hostIPC === true ? "node" : "pod",
    ...(input.userNamespace === undefined
      ? {}
      : { userNamespace: { hostId: input.userNamespace.first, length: input.userNamespace.length } }),
    sysctls: podSysctls(pod),
    security: sandboxSecurity(pod),
  };
}

/** The labels by which tools and a restarted agent find what belongs to a Pod. */
export function podLabels(pod: Pod): Readonly<Record<string, string>> {
  return {
    [label.podName]: pod.metadata?.name ?? "",
    [label.podNamespace]: pod.metadata?.namespace ?? "",
    [label.podUid]: pod.metadata?.uid ?? "",
  };
}

/** Host ports that the Pod's containers ask for. */
export function portMappings(pod: Pod): readonly PortMapping[] {
  return [
    ...(pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always"),
    ...(pod.spec?.containers ?? []),
  ].flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, containerPort, protocol, hostIP }) =>
      hostPort === undefined || hostPort === 0
        ? []
        : [{ protocol: protocolOf(protocol), containerPort, hostPort, hostIp: hostIP ?? "" }],
    ),
  );
}

function protocolOf(protocol: string | undefined): PortMapping["protocol"] {
  return protocol === "UDP" || protocol === "SCTP" ? protocol : "TCP";
}
