import { Counter, Gauge, Histogram, Registry } from "prom-client";

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
}

/** A registry of its own for each agent: several run in one process in tests. */
export function agentMetrics(): AgentMetrics {
  const registry = new Registry();
  const registers = [registry];
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
  };
}
