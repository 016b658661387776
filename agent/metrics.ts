import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { VolumeReading } from "./volumes/volume-readings.ts";

/** Every metric of the agent, under the kubelet's names where it has one. */
export interface AgentMetrics {
  readonly registry: Registry;
  readonly nodeName: Gauge<"node">;
  readonly runningPods: Gauge;
  readonly runningContainers: Gauge<"container_state">;
  readonly desiredPods: Gauge<"static">;
  readonly podSyncSeconds: Histogram<"operation_type">;
  readonly podSyncFailures: Counter;
  readonly statusWriteSeconds: Histogram;
  readonly relistSeconds: Histogram;
  readonly oomKills: Counter<"victim">;
  readonly volumes: VolumeGauges;
  readonly httpRequests: Counter<HttpLabel>;
  readonly httpInflight: Gauge<HttpLabel>;
  readonly httpSeconds: Histogram<HttpLabel>;
  readonly volumeReadSeconds: Histogram<"metric_source">;
}

type VolumeGauge = Gauge<"namespace" | "persistentvolumeclaim">;

/** Sizes of volumes that came by a claim. */
export interface VolumeGauges {
  readonly capacityBytes: VolumeGauge;
  readonly availableBytes: VolumeGauge;
  readonly usedBytes: VolumeGauge;
  readonly inodes: VolumeGauge;
  readonly inodesFree: VolumeGauge;
  readonly inodesUsed: VolumeGauge;
  readonly abnormal: VolumeGauge;
}

type HttpLabel = "method" | "path" | "server_type" | "long_running";
const httpLabels: readonly HttpLabel[] = ["method", "path", "server_type", "long_running"];

/** A registry of its own for each agent: several run in one process in tests. */
export function agentMetrics(): AgentMetrics {
  const registry = new Registry();
  const registers = [registry];
  const volumeGauge = (name: string, help: string): VolumeGauge =>
    new Gauge({
      name: `kubelet_volume_stats_${name}`,
      help,
      labelNames: ["namespace", "persistentvolumeclaim"],
      registers,
    });
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
  return {
    registry,
    nodeName: new Gauge({
      name: "kubelet_node_name",
      help: "The node's name. The count is always 1.",
      labelNames: ["node"],
      registers,
    }),
    runningPods: new Gauge({
      name: "kubelet_running_pods",
      help: "Number of pods that have a running pod sandbox",
      registers,
    }),
    runningContainers: new Gauge({
      name: "kubelet_running_containers",
      help: "Number of containers by state",
      labelNames: ["container_state"],
      registers,
    }),
    desiredPods: new Gauge({
      name: "kubelet_desired_pods",
      help: "The number of pods the kubelet is being instructed to run.",
      labelNames: ["static"],
      registers,
    }),
    podSyncSeconds: new Histogram({
      name: "kubelet_pod_worker_duration_seconds",
      help: "Duration in seconds to sync a single pod.",
      labelNames: ["operation_type"],
      buckets,
      registers,
    }),
    podSyncFailures: new Counter({
      name: "keelson_agent_pod_sync_failures_total",
      help: "Steps of a Pod that failed and were tried again.",
      registers,
    }),
    statusWriteSeconds: new Histogram({
      name: "kubelet_pod_status_sync_duration_seconds",
      help: "Duration in seconds to sync a pod status update.",
      buckets,
      registers,
    }),
    relistSeconds: new Histogram({
      name: "kubelet_pleg_relist_duration_seconds",
      help: "Duration in seconds for relisting pods in PLEG.",
      buckets,
      registers,
    }),
    oomKills: new Counter({
      name: "keelson_agent_oom_kills_total",
      help: "Processes that the kernel killed for want of memory: a container's own, a child in one that runs on, or another of the node's.",
      labelNames: ["victim"],
      registers,
    }),
    volumeReadSeconds: new Histogram({
      name: "kubelet_volume_metric_collection_duration_seconds",
      help: "Duration in seconds to calculate volume stats",
      labelNames: ["metric_source"],
      buckets,
      registers,
    }),
    volumes: {
      capacityBytes: volumeGauge("capacity_bytes", "Capacity in bytes of the volume"),
      availableBytes: volumeGauge("available_bytes", "Number of available bytes in the volume"),
      usedBytes: volumeGauge("used_bytes", "Number of used bytes in the volume"),
      inodes: volumeGauge("inodes", "Maximum number of inodes in the volume"),
      inodesFree: volumeGauge("inodes_free", "Number of free inodes in the volume"),
      inodesUsed: volumeGauge("inodes_used", "Number of used inodes in the volume"),
      abnormal: volumeGauge(
        "health_status_abnormal",
        "Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates volume is healthy",
      ),
    },
    httpRequests: new Counter({
      name: "kubelet_http_requests_total",
      help: "Number of the http requests received since the server started",
      labelNames: httpLabels,
      registers,
    }),
    httpInflight: new Gauge({
      name: "kubelet_http_inflight_requests",
      help: "Number of the inflight http requests",
      labelNames: httpLabels,
      registers,
    }),
    httpSeconds: new Histogram({
      name: "kubelet_http_requests_duration_seconds",
      help: "Duration in seconds to serve http requests",
      labelNames: httpLabels,
      buckets,
      registers,
    }),
  };
}

/** Shows these sizes and no others. Pods that share a claim have one size. */
export function tellVolumeSizes({ volumes }: AgentMetrics, readings: readonly VolumeReading[]): void {
  for (const gauge of Object.values<VolumeGauge>({ ...volumes })) gauge.reset();
  for (const { claim, stats } of readings) {
    if (claim === undefined) continue;
    const labels = { namespace: claim.namespace, persistentvolumeclaim: claim.name };
    const { condition, ...sizes } = stats;
    for (const name of sizeNames) {
      const value = sizes[name];
      if (value !== undefined) volumes[name].set(labels, value);
    }
    if (condition !== undefined) volumes.abnormal.set(labels, condition.abnormal ? 1 : 0);
  }
}

const sizeNames = [
  "capacityBytes",
  "availableBytes",
  "usedBytes",
  "inodes",
  "inodesFree",
  "inodesUsed",
] as const;
