import { type CniError, type CniResult, type CniVersion, supportedVersions } from "../model.ts";

/** A result in the words of one version: before 1.0 an address says its family; `mtu` came with 1.1. */
export function renderResult(result: CniResult, version: CniVersion): string {
  const isOld = version.startsWith("0.");
  return JSON.stringify({
    cniVersion: version,
    interfaces: result.interfaces.map(({ mtu, ...rest }) =>
      version === "1.1.0" && mtu !== undefined ? { ...rest, mtu } : rest,
    ),
    ips: result.ips.map((ip) => (isOld ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip)),
    routes: result.routes,
    dns: result.dns,
  });
}

/** An error as a plugin prints it to standard output. */
export function renderError(error: CniError, version: string): string {
  return JSON.stringify({
    cniVersion: version,
    code: error.code,
    msg: error.message,
    ...(error.details === "" ? {} : { details: error.details }),
  });
}

/** The answer to VERSION. */
export function renderVersions(): string {
  return JSON.stringify({ cniVersion: supportedVersions.at(-1), supportedVersions });
}
