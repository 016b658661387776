import type { Node, NodeCondition, NodeStatus } from "#api/generated/kubernetes.ts";
import type { RuntimeHandler } from "../runtime/runtime.ts";
import { type HugePages, hugePageCapacity } from "./huge-pages.ts";
import { apiTime } from "./container-statuses.ts";

/** What a node tells of itself. Bytes, and thousandths of a CPU. */
export interface NodeReport {
  readonly nodeName: string;
  readonly addresses: readonly string[];
  readonly facts: {
    readonly machineId: string;
    readonly systemUuid: string;
    readonly bootId: string;
    readonly kernelVersion: string;
    readonly osImage: string;
    readonly architecture: string;
    readonly cpus: number;
    readonly memoryBytes: number;
    readonly swapBytes: number;
    readonly maxPids: number;
    readonly hugePages: readonly HugePages[];
  };
  readonly use: {
    readonly memoryAvailableBytes: number;
    readonly diskCapacityBytes: number;
    readonly diskAvailableBytes: number;
    readonly inodes: number;
    readonly inodesFree: number;
    readonly pids: number;
  };
  readonly maxPods: number;
  readonly handlers: readonly RuntimeHandler[];
  readonly strictGroups: boolean;
  readonly reservedMemoryBytes: number;
  readonly port: number;
  /** `containerd://1.6.20` */
  readonly runtimeVersion: string;
  readonly kubeletVersion: string;
  readonly images: readonly {
    readonly repoTags: readonly string[];
    readonly repoDigests: readonly string[];
    readonly sizeBytes: number;
  }[];
  /** Why the node is not ready, empty when it is. */
  readonly notReady: readonly string[];
  /** Names of attached volumes that Pods here use: they must not be detached. */
  readonly volumesInUse: readonly string[];
}

const maxImages = 50;
const maxNames = 5;
const evictionMemoryBytes = 100 * 1024 * 1024;

/** A node's status. @param before as the API has it, for times and foreign conditions. */
export function nodeStatus(report: NodeReport, before: NodeStatus | undefined, nowMs: number): NodeStatus {
  const { facts, use } = report;
  const capacity = {
    cpu: String(facts.cpus),
    "ephemeral-storage": `${Math.floor(use.diskCapacityBytes / 1_024)}Ki`,
    memory: `${Math.floor(facts.memoryBytes / 1_024)}Ki`,
    pods: String(report.maxPods),
    ...hugePageCapacity(facts.hugePages),
  };
  return {
    addresses: [
      ...report.addresses.map((address) => ({ type: "InternalIP", address })),
      { type: "Hostname", address: report.nodeName },
    ],
    capacity,
    allocatable: {
      ...capacity,
      "ephemeral-storage": String(Math.floor(use.diskCapacityBytes * 0.9)),
      memory: `${Math.floor(podMemory(facts, report.reservedMemoryBytes) / 1_024)}Ki`,
    },
    conditions: mergeConditions(before?.conditions ?? [], conditions(report), nowMs),
    daemonEndpoints: { kubeletEndpoint: { Port: report.port } },
    nodeInfo: {
      machineID: facts.machineId,
      systemUUID: facts.systemUuid,
      bootID: facts.bootId,
      kernelVersion: facts.kernelVersion,
      osImage: facts.osImage,
      containerRuntimeVersion: report.runtimeVersion,
      kubeletVersion: report.kubeletVersion,
      kubeProxyVersion: "",
      operatingSystem: "linux",
      architecture: facts.architecture,
      ...(facts.swapBytes > 0 ? { swap: { capacity: facts.swapBytes } } : {}),
    },
    images: report.images
      .toSorted((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, maxImages)
      .map(({ repoTags, repoDigests, sizeBytes }) => ({
        names: [...repoDigests, ...repoTags].slice(0, maxNames),
        sizeBytes,
      }))
      .filter(({ names }) => names.length > 0),
    volumesInUse: report.volumesInUse,
    ...(report.handlers.length === 0
      ? {}
      : {
          runtimeHandlers: report.handlers.map(({ name, recursiveReadOnly, userNamespaces }) => ({
            name,
            features: { recursiveReadOnlyMounts: recursiveReadOnly, userNamespaces },
          })),
        }),
    features: { supplementalGroupsPolicy: report.strictGroups },
  };
}

/** What Pods may use in all: the machine's, less what is reserved and the eviction threshold. */
export function allocatableOf(
  facts: NodeReport["facts"],
  use: NodeReport["use"],
  reservedMemoryBytes: number,
): { readonly cpuMilli: number; readonly memoryBytes: number; readonly ephemeralStorageBytes: number } {
  return {
    cpuMilli: facts.cpus * 1_000,
    memoryBytes: podMemory(facts, reservedMemoryBytes),
    ephemeralStorageBytes: Math.floor(use.diskCapacityBytes * 0.9),
  };
}

/** What is set aside for huge pages is no memory of any other kind. */
function podMemory({ memoryBytes, hugePages }: NodeReport["facts"], reservedBytes: number): number {
  const huge = hugePages.reduce((sum, { pageBytes, pages }) => sum + pageBytes * pages, 0);
  return memoryBytes - huge - reservedBytes - evictionMemoryBytes;
}

/** Labels that a node has without being told. */
export function standardLabels(nodeName: string, architecture: string): Readonly<Record<string, string>> {
  return {
    "beta.kubernetes.io/arch": architecture,
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/arch": architecture,
    "kubernetes.io/hostname": nodeName,
    "kubernetes.io/os": "linux",
  };
}

/** The Node object to register. */
export function newNode(
  nodeName: string,
  labels: Readonly<Record<string, string>>,
  taints: NonNullable<NonNullable<Node["spec"]>["taints"]>,
  providerId: string,
  status: NodeStatus,
): Node {
  return {
    metadata: {
      name: nodeName,
      labels,
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
    },
    spec: {
      ...(taints.length === 0 ? {} : { taints }),
      ...(providerId === "" ? {} : { providerID: providerId }),
    },
    status,
  };
}

/** Reads `key=value:effect`. @throws Error for anything else. */
export function parseTaint(text: string): {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
} {
  const match = /^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(text);
  if (match === null)
    throw new Error(
      `cannot use the taint "${text}": want key=value:effect, such as "dedicated=gpu:NoSchedule"`,
    );
  const [, key = "", value, effect = ""] = match;
  return { key, ...(value === undefined || value === "" ? {} : { value }), effect };
}

type Draft = Omit<NodeCondition, "lastHeartbeatTime" | "lastTransitionTime">;

function conditions({ use, facts, notReady }: NodeReport): readonly Draft[] {
  const memory = use.memoryAvailableBytes < evictionMemoryBytes;
  const disk =
    use.diskAvailableBytes < use.diskCapacityBytes * 0.1 ||
    (use.inodes > 0 && use.inodesFree < use.inodes * 0.05);
  const pid = facts.maxPids > 0 && facts.maxPids - use.pids < facts.maxPids * 0.02;
  return [
    memory
      ? {
          type: "MemoryPressure",
          status: "True",
          reason: "KubeletHasInsufficientMemory",
          message: "kubelet has insufficient memory available",
        }
      : {
          type: "MemoryPressure",
          status: "False",
          reason: "KubeletHasSufficientMemory",
          message: "kubelet has sufficient memory available",
        },
    disk
      ? {
          type: "DiskPressure",
          status: "True",
          reason: "KubeletHasDiskPressure",
          message: "kubelet has disk pressure",
        }
      : {
          type: "DiskPressure",
          status: "False",
          reason: "KubeletHasNoDiskPressure",
          message: "kubelet has no disk pressure",
        },
    pid
      ? {
          type: "PIDPressure",
          status: "True",
          reason: "KubeletHasInsufficientPID",
          message: "kubelet has insufficient PID available",
        }
      : {
          type: "PIDPressure",
          status: "False",
          reason: "KubeletHasSufficientPID",
          message: "kubelet has sufficient PID available",
        },
    notReady.length === 0
      ? { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" }
      : {
          type: "Ready",
          status: "False",
          reason: "KubeletNotReady",
          message: notReady.length === 1 ? (notReady[0] ?? "") : `[${notReady.join(", ")}]`,
        },
  ];
}

function mergeConditions(
  before: readonly NodeCondition[],
  ours: readonly Draft[],
  nowMs: number,
): readonly NodeCondition[] {
  const now = apiTime(nowMs);
  const names = new Set(ours.map(({ type }) => type));
  return [
    ...before.filter(({ type }) => !names.has(type)),
    ...ours.map((condition) => {
      const old = before.find(({ type }) => type === condition.type);
      return {
        ...condition,
        lastHeartbeatTime: now,
        lastTransitionTime: old?.status === condition.status ? (old.lastTransitionTime ?? now) : now,
      };
    }),
  ];
}
