import { createHash } from "node:crypto";
import { hostPort, type ServicePort } from "../model.ts";

/** `SVC`: all endpoints; `SVL`: those of this node; `EXT`: entry from outside; `FW`: source ranges. */
export type ChainKind = "SVC" | "SVL" | "EXT" | "FW";

/** The chain of a port, named as kube-proxy names it, so that tools and people find it. */
export function serviceChain(kind: ChainKind, port: Pick<ServicePort, "name" | "protocol">): string {
  return `KUBE-${kind}-${shortHash(port.name + port.protocol)}`;
}

/** The chain of one endpoint of a port. */
export function endpointChain(
  port: Pick<ServicePort, "name" | "protocol">,
  endpoint: { readonly ip: string; readonly port: number },
): string {
  return `KUBE-SEP-${shortHash(port.name + port.protocol + hostPort(endpoint.ip, endpoint.port))}`;
}

/** True for a chain that belongs to one Service in iptables mode: safe to remove when no Service has it. */
export function isServiceChain(chain: string): boolean {
  return /^KUBE-(SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}$/.test(chain);
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The first 16 characters of the base32 (RFC 4648) of a SHA-256: 28 characters is all a chain name may have. */
function shortHash(text: string): string {
  const digest = createHash("sha256").update(text).digest();
  let bits = 0;
  let value = 0;
  let out = "";
  for (const byte of digest.subarray(0, 10)) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += alphabet.charAt((value >> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  return out;
}
