import { networkInterfaces } from "node:os";
import type { Conntrack } from "#linux/conntrack.ts";
import type { Family, ServicePort } from "../model.ts";
import { isStale, planValidAnswers } from "../plan/stale-flows.ts";
import type { PortChange } from "../sync-services.ts";

/**
 * Forgets UDP flows that the changed ports no longer stand behind. The table is listed only when a UDP port changed.
 * @param answers `address:port` of everybody who may answer for a port.
 * @returns how many flows were deleted.
 */
export async function cleanFlows(
  conntrack: Conntrack,
  changes: readonly PortChange[],
  answers: (port: ServicePort) => readonly string[],
  family: Family,
  signal: AbortSignal,
): Promise<number> {
  const valid = planValidAnswers(changes, answers, localIps(family));
  if (valid.size === 0) return 0;
  let deleted = 0;
  for (const flow of await conntrack.udpFlows(family, signal)) {
    if (isStale(flow, valid) && (await conntrack.delete(flow, signal))) deleted += 1;
  }
  return deleted;
}

/** Every address of this machine in one family, loopback included. */
export function localIps(family: Family): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => address.family === `IPv${family}`)
    .map(({ address }) => address);
}
