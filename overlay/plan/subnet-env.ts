import { formatAddress, formatNetwork, parseCidr } from "#lib/ip.ts";

/** `/run/flannel/subnet.env`: how the node's other programs learn of the subnet. */
export interface SubnetEnv {
  readonly network: string;
  /** `10.5.52.0/24` */
  readonly subnet: string;
  readonly mtuBytes: number;
  readonly ipMasq: boolean;
}

/** `FLANNEL_SUBNET` is the subnet's first address, the bridge's. */
export function renderSubnetEnv(env: SubnetEnv): string {
  const cidr = parseCidr(env.subnet);
  const gateway = formatAddress({ family: cidr.family, value: cidr.first + 1n });
  return [
    `FLANNEL_NETWORK=${env.network}`,
    `FLANNEL_SUBNET=${gateway}/${cidr.prefix}`,
    `FLANNEL_MTU=${env.mtuBytes}`,
    `FLANNEL_IPMASQ=${env.ipMasq}`,
    "",
  ].join("\n");
}

/** The subnet this node had before; undefined when the file does not say, or says it of another network. */
export function previousSubnet(text: string, network: string): string | undefined {
  const fields = new Map(
    text
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1).trim()]),
  );
  if (fields.get("FLANNEL_NETWORK") !== network) return undefined;
  try {
    return formatNetwork(parseCidr(fields.get("FLANNEL_SUBNET") ?? ""));
  } catch {
    return undefined;
  }
}
