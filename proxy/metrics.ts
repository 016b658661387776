import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What the proxy measures, under kube-proxy's names. */
export interface ProxyMetrics {
  readonly registry: Registry;
  readonly syncSeconds: Histogram<"ip_family">;
  readonly fullSyncSeconds: Histogram<"ip_family">;
  readonly partialSyncSeconds: Histogram<"ip_family">;
  readonly lastSync: Gauge<"ip_family">;
  readonly lastQueued: Gauge<"ip_family">;
  readonly programmingSeconds: Histogram<"ip_family">;
  readonly restoreFailures: Counter<"ip_family">;
  readonly noLocalEndpoints: Gauge<"ip_family" | "traffic_policy">;
  readonly linesWritten: Gauge<"ip_family">;
  readonly deletedFlows: Counter<"ip_family">;
  readonly healthz: Counter<"code">;
  readonly livez: Counter<"code">;
}

const syncBuckets = Array.from({ length: 15 }, (_, power) => 0.001 * 2 ** power);
const programmingBuckets = [0.25, 0.5, ...range(1, 59, 1), ...range(60, 115, 5), ...range(120, 300, 30)];

/** A registry of its own: several proxies may live in one process. */
export function proxyMetrics(): ProxyMetrics {
  const registry = new Registry();
  const common = { registers: [registry], labelNames: ["ip_family"] as const };
  const histogram = (name: string, help: string, buckets: number[]): Histogram<"ip_family"> =>
    new Histogram({ ...common, name: `kubeproxy_${name}`, help, buckets });
  const gauge = (name: string, help: string): Gauge<"ip_family"> =>
    new Gauge({ ...common, name: `kubeproxy_${name}`, help });
  const code = { registers: [registry], labelNames: ["code"] as const };
  return {
    registry,
    syncSeconds: histogram("sync_proxy_rules_duration_seconds", "time of one rule write", syncBuckets),
    fullSyncSeconds: histogram(
      "sync_full_proxy_rules_duration_seconds",
      "time of one write of all rules",
      syncBuckets,
    ),
    partialSyncSeconds: histogram(
      "sync_partial_proxy_rules_duration_seconds",
      "time of one write of a difference",
      syncBuckets,
    ),
    lastSync: gauge("sync_proxy_rules_last_timestamp_seconds", "when rules were last in step"),
    lastQueued: gauge("sync_proxy_rules_last_queued_timestamp_seconds", "when a write was last asked for"),
    programmingSeconds: histogram(
      "network_programming_duration_seconds",
      "from a change of a Pod or Service to the rules",
      programmingBuckets,
    ),
    restoreFailures: new Counter({
      ...common,
      name: "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
      help: "writes that failed",
    }),
    noLocalEndpoints: new Gauge({
      registers: [registry],
      labelNames: ["ip_family", "traffic_policy"] as const,
      name: "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
      help: "ports under policy Local without an endpoint on this node",
    }),
    linesWritten: gauge("sync_proxy_rules_iptables_last", "lines of the last write"),
    deletedFlows: new Counter({
      ...common,
      name: "kubeproxy_conntrack_reconciler_deleted_entries_total",
      help: "stale UDP flows forgotten",
    }),
    healthz: new Counter({ ...code, name: "kubeproxy_proxy_healthz_total", help: "answers of /healthz" }),
    livez: new Counter({ ...code, name: "kubeproxy_proxy_livez_total", help: "answers of /livez" }),
  };
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}
