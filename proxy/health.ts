import type { Node } from "#api/generated/kubernetes.ts";

/** Whether the rules of each family are in step with what the API said. Times are milliseconds since the epoch. */
export class ProxyHealth {
  readonly #limitMs: number;
  readonly #families = new Map<
    string,
    { lastUpdated: number | undefined; queuedSince: number | undefined }
  >();

  /** @param limitMs a change that waits longer than this makes the proxy unhealthy: twice the sync period. */
  constructor(limitMs: number, families: readonly string[]) {
    this.#limitMs = limitMs;
    for (const family of families)
      this.#families.set(family, { lastUpdated: undefined, queuedSince: undefined });
  }

  queued(family: string, now: number): void {
    const state = this.#families.get(family);
    if (state !== undefined) state.queuedSince ??= now;
  }

  updated(family: string, now: number): void {
    this.#families.set(family, { lastUpdated: now, queuedSince: undefined });
  }

  /** What /healthz (with a node) and /livez (without) answer. */
  report(now: number, nodeEligible?: boolean): { readonly healthy: boolean; readonly body: unknown } {
    const status = Object.fromEntries(
      [...this.#families].map(([family, state]) => [
        family,
        {
          lastUpdated: formatTime(state.lastUpdated),
          // Before the first sync the API has simply not answered yet: that is not this proxy's fault.
          healthy: state.queuedSince === undefined || now - state.queuedSince <= this.#limitMs,
        },
      ]),
    );
    const healthy = Object.values(status).every((family) => family.healthy) && nodeEligible !== false;
    const oldest = Math.min(...[...this.#families.values()].map((state) => state.lastUpdated ?? 0));
    return {
      healthy,
      body: {
        lastUpdated: formatTime(oldest === 0 ? undefined : oldest),
        currentTime: formatTime(now),
        ...(nodeEligible === undefined ? {} : { nodeEligible }),
        healthy,
        status,
      },
    };
  }
}

/** False for a node that is being taken away: load balancers then send elsewhere (KEP-3836). */
export function isNodeEligible(node: Node | undefined, known: boolean): boolean {
  if (node === undefined) return !known;
  const leaving = (node.spec?.taints ?? []).some(({ key }) => key === "ToBeDeletedByClusterAutoscaler");
  return node.metadata?.deletionTimestamp === undefined && !leaving;
}

function formatTime(ms: number | undefined): string {
  return ms === undefined ? "0001-01-01T00:00:00Z" : new Date(ms).toISOString();
}
