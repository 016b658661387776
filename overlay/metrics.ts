import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Every metric of the overlay. */
export interface OverlayMetrics {
  readonly registry: Registry;
  readonly peers: Gauge;
  readonly skippedPeers: Gauge;
  readonly syncSeconds: Histogram;
  readonly syncFailures: Counter;
  readonly kernelChanges: Counter;
  readonly ruleWrites: Counter;
}

export function overlayMetrics(): OverlayMetrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    peers: new Gauge({ name: "keelson_overlay_peers", help: "Nodes whose subnet we route to.", registers }),
    skippedPeers: new Gauge({
      name: "keelson_overlay_skipped_peers",
      help: "Nodes we cannot reach; the log says why.",
      registers,
    }),
    syncSeconds: new Histogram({
      name: "keelson_overlay_sync_seconds",
      help: "Time to compare the kernel with the leases and write the difference.",
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
      registers,
    }),
    syncFailures: new Counter({
      name: "keelson_overlay_sync_failures_total",
      help: "Comparisons that failed.",
      registers,
    }),
    kernelChanges: new Counter({
      name: "keelson_overlay_kernel_changes_total",
      help: "Entries written to the kernel or removed from it.",
      registers,
    }),
    ruleWrites: new Counter({
      name: "keelson_overlay_rule_writes_total",
      help: "Times iptables rules were put back.",
      registers,
    }),
  };
}
