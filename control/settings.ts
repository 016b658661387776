import { detectAddress, machineNames } from "./advertise-address.ts";
import { nthAddress } from "./allocators/plan/ipv4-range.ts";
import type { Published } from "./bootstrap/plan/first-objects.ts";
import type { ControlConfig } from "./config.ts";
import { writeKubeconfigs } from "./pki/kubeconfig-files.ts";
import { ensurePki, type Pki } from "./pki/pki.ts";

/** What follows from the configuration and this machine. */
export interface Settings {
  readonly advertiseAddress: string;
  /** The server that kubeconfigs name. */
  readonly kubeconfigServer: string;
  /** Who ServiceAccount tokens are from, and for. */
  readonly issuer: string;
  readonly published: Published;
}

/** Fills in what the configuration leaves to the machine. */
export function settingsOf(config: ControlConfig): Settings {
  const bound = config.bindAddress === "0.0.0.0" || config.bindAddress === "::" ? "" : config.bindAddress;
  const advertiseAddress = firstOf(config.advertiseAddress, bound) ?? detectAddress();
  // The machine's name for itself survives a change of its address.
  const local = bound === "" ? "127.0.0.1" : bound;
  return {
    advertiseAddress,
    kubeconfigServer: firstOf(config.kubeconfigServer) ?? `https://${local}:${config.securePort}`,
    issuer: `https://kubernetes.default.svc.${config.clusterDomain}`,
    published: {
      advertiseAddress,
      securePort: config.securePort,
      apiServiceIp: nthAddress(config.serviceClusterIpRange, 1),
      dns: config.disableDns
        ? undefined
        : {
            serviceIp: firstOf(config.clusterDns) ?? nthAddress(config.serviceClusterIpRange, 10),
            address: firstOf(config.dnsAddress) ?? advertiseAddress,
            port: config.dnsPort,
          },
    },
  };
}

/** Makes what is missing of the PKI and the kubeconfigs, and renews what is due. */
export async function writeTrust(
  config: ControlConfig,
  settings: Settings,
  nowMs: number,
  signal: AbortSignal,
): Promise<Pki> {
  const names = [
    settings.published.apiServiceIp,
    settings.advertiseAddress,
    ...machineNames(),
    ...config.tlsSans,
  ];
  const { clusterDomain, configDir, dataDir, nodeNames } = config;
  const pki = await ensurePki({ folder: `${dataDir}/pki`, clusterDomain, names }, nowMs, signal);
  const kubeconfigs = { folder: configDir, server: settings.kubeconfigServer, nodeNames };
  await writeKubeconfigs(kubeconfigs, pki.ca, nowMs, signal);
  return pki;
}

/** The first that is not empty. */
function firstOf(...values: readonly string[]): string | undefined {
  return values.find((value) => value !== "");
}
