import { createHash } from "node:crypto";
import type { AttachmentKey } from "../model.ts";

/** Names that follow from the attachment alone, so that DEL finds everything without any state. */

/** The host's end of the veth pair: 12 characters. */
export function hostVethName(key: AttachmentKey): string {
  return `veth${hash(`${key.containerId}\0${key.ifName}`).slice(0, 8)}`;
}

/** The chain of one container's port mappings, named as CNI's portmap plugin names it: 28 characters. */
export function portMapChain(network: string, containerId: string): string {
  return `CNI-DN-${hash(network + containerId).slice(0, 21)}`;
}

/** The chain that rewrites the source of what leaves the network: 28 characters. */
export function masqueradeChain(network: string): string {
  return `CNI-${hash(network).slice(0, 24)}`;
}

/** `0a:58:` and the IPv4 address, so that a Pod's MAC is known from its address; undefined for IPv6. */
export function macOfAddress(address: string): string | undefined {
  const parts = address.split(".");
  if (parts.length !== 4) return undefined;
  return ["0a", "58", ...parts.map((part) => Number(part).toString(16).padStart(2, "0"))].join(":");
}

function hash(text: string): string {
  return createHash("sha512").update(text).digest("hex");
}
