import type { TunnelChange, TunnelState } from "../model.ts";

/**
 * The writes that lead from what the kernel has to what it should have; none when they are equal.
 * What is replaced is set without a removal before it, so no packet finds nothing.
 */
export function diffTunnel(desired: TunnelState, actual: TunnelState): TunnelChange[] {
  const changes: TunnelChange[] = [];
  for (const [subnet, route] of actual.routes) {
    if (!desired.routes.has(subnet)) changes.push({ type: "remove-route", subnet, route });
  }
  // FDB and neighbour first, route last: once the route exists the kernel sends, and a frame whose MAC
  // has no FDB entry is dropped: the link is `nolearning` and has no multicast group.
  for (const [mac, remote] of desired.fdb) {
    if (actual.fdb.get(mac) !== remote) changes.push({ type: "set-fdb", mac, remote });
  }
  for (const [address, mac] of desired.neighbours) {
    if (actual.neighbours.get(address) !== mac) changes.push({ type: "set-neighbour", address, mac });
  }
  for (const [subnet, route] of desired.routes) {
    const now = actual.routes.get(subnet);
    if (now?.gateway !== route.gateway || now.by !== route.by)
      changes.push({ type: "set-route", subnet, route });
  }
  for (const [address, mac] of actual.neighbours) {
    if (!desired.neighbours.has(address)) changes.push({ type: "remove-neighbour", address, mac });
  }
  for (const [mac, remote] of actual.fdb) {
    if (!desired.fdb.has(mac)) changes.push({ type: "remove-fdb", mac, remote });
  }
  return changes;
}
