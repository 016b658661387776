import type { NetworkAttachment } from "../model.ts";
import { isObject, type Json, object, string } from "./json.ts";
import { capabilityArgs, cniArgs, type NetworkList } from "./network-list.ts";

/** libcni's result cache, so that other tools read ours and we read theirs. */

/** What is kept of one ADD. */
export interface CachedResult {
  /** The configuration it was run with. */
  readonly config: string;
  readonly capabilityArgs: Json;
  readonly result: Json;
}

export function cacheFileName(network: string, containerId: string, ifName: string): string {
  return `${network}-${containerId}-${ifName}`;
}

export function renderCached(
  network: NetworkList,
  attachment: NetworkAttachment,
  ifName: string,
  result: Json,
): string {
  return JSON.stringify({
    kind: "cniCacheV1",
    containerId: attachment.sandboxId,
    config: Buffer.from(network.source, "utf8").toString("base64"),
    ifName,
    networkName: network.name,
    netns: attachment.netnsPath,
    cniArgs: cniArgs(attachment),
    capabilityArgs: capabilityArgs(attachment),
    result,
  });
}

/** @returns undefined for a file that is no cache of this kind. */
export function parseCached(text: string): CachedResult | undefined {
  try {
    const cached: unknown = JSON.parse(text);
    if (!isObject(cached) || cached["kind"] !== "cniCacheV1") return undefined;
    return {
      config: Buffer.from(string(cached["config"]), "base64").toString("utf8"),
      capabilityArgs: object(cached["capabilityArgs"]),
      result: object(cached["result"]),
    };
  } catch {
    return undefined;
  }
}
