import { CniError, cniErrorCode, type NetworkAttachment } from "../model.ts";
import { isObject, type Json, list, object, string } from "./json.ts";

/** A configuration file: a chain of plugins. */
export interface NetworkList {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly Json[];
  /** The file's own text, for the cache. */
  readonly source: string;
}

/**
 * Reads a `.conflist`, or a `.conf` that holds one plugin.
 * @throws {CniError} 6 or 7 when it is not one.
 */
export function parseNetworkList(source: string): NetworkList {
  let conf: unknown;
  try {
    conf = JSON.parse(source);
  } catch (cause) {
    throw new CniError(
      cniErrorCode.undecodable,
      "cannot read the network configuration: it is not JSON",
      String(cause),
    );
  }
  if (!isObject(conf))
    throw new CniError(cniErrorCode.undecodable, "cannot read the network configuration: it is no object");
  const plugins = Array.isArray(conf["plugins"]) ? list(conf["plugins"]) : [conf];
  const name = string(conf["name"]);
  if (name === "" || plugins.length === 0 || plugins.some((plugin) => string(plugin["type"]) === "")) {
    throw new CniError(
      cniErrorCode.invalidConfig,
      `cannot use network "${name}": it wants a name and plugins with a type each`,
    );
  }
  return { name, cniVersion: string(conf["cniVersion"]) || "0.2.0", plugins, source };
}

/** What one plugin of a chain gets on standard input. Only the capabilities it declares reach it. */
export function pluginInput(
  network: NetworkList,
  plugin: Json,
  capabilities: Json,
  prevResult: Json | undefined,
): string {
  const { capabilities: declared, runtimeConfig: _, ...rest } = plugin;
  const wanted = Object.entries(capabilities).filter(([name]) => object(declared)[name] === true);
  return JSON.stringify({
    ...rest,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  });
}

/** Capability name -> its argument, for what the Pod asks for. */
export function capabilityArgs(attachment: NetworkAttachment): Json {
  const mapped = attachment.portMappings.filter((mapping) => mapping.hostPort > 0);
  const bandwidth = parseBandwidth(attachment.annotations);
  return {
    ...(mapped.length === 0
      ? {}
      : {
          portMappings: mapped.map(({ hostPort, containerPort, protocol, hostIp }) => ({
            hostPort,
            containerPort,
            protocol: protocol.toLowerCase(),
            hostIP: hostIp,
          })),
        }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
  };
}

/** `CNI_ARGS`, as Kubernetes' runtimes give them. */
export function cniArgs(attachment: NetworkAttachment): readonly (readonly [string, string])[] {
  return [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", attachment.podNamespace],
    ["K8S_POD_NAME", attachment.podName],
    ["K8S_POD_INFRA_CONTAINER_ID", attachment.sandboxId],
    ["K8S_POD_UID", attachment.podUid],
  ];
}

/** The annotations `kubernetes.io/{ingress,egress}-bandwidth`; in bits a second. */
function parseBandwidth(annotations: Readonly<Record<string, string>>): Json | undefined {
  const ingress = parseBits(annotations["kubernetes.io/ingress-bandwidth"]);
  const egress = parseBits(annotations["kubernetes.io/egress-bandwidth"]);
  if (ingress === undefined && egress === undefined) return undefined;
  const burst = 2 ** 31 - 1;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress, ingressBurst: burst }),
    ...(egress === undefined ? {} : { egressRate: egress, egressBurst: burst }),
  };
}

function parseBits(text: string | undefined): number | undefined {
  const [, digits = "", unit = ""] = /^(\d+)([kMGT]?|[KMGT]i)$/.exec(text ?? "") ?? [];
  if (digits === "") return undefined;
  const powers: Readonly<Record<string, number>> = {
    "": 1,
    k: 1e3,
    M: 1e6,
    G: 1e9,
    T: 1e12,
    Ki: 2 ** 10,
    Mi: 2 ** 20,
    Gi: 2 ** 30,
    Ti: 2 ** 40,
  };
  return Number(digits) * (powers[unit] ?? 1);
}
