import type { ApiClient } from "#api/client.ts";
import type { EventRecorder } from "#api/event-recorder.ts";
import type { Pod, Service } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import type { CgroupMounts } from "#linux/cgroup.ts";
import type { AgentConfig } from "./config.ts";
import type { PodJournals } from "./explain/pod-journals.ts";
import type { CredentialPlugins } from "./images/credential-plugins.ts";
import type { ImagePuller } from "./images/image-puller.ts";
import type { PullRecords } from "./images/pull-records.ts";
import type { ObjectReader } from "./last-known/object-reader.ts";
import type { DownwardFacts } from "./plan/downward.ts";
import type { HugePages } from "./plan/huge-pages.ts";
import type { DnsConfig } from "./plan/resolv-conf.ts";
import type { Prober } from "./probes/prober.ts";
import type { Allocations } from "./resources/allocations.ts";
import type { UserNamespaces } from "./resources/user-namespaces.ts";
import type { Runtime, RuntimeHandler } from "./runtime/runtime.ts";
import type { ObjectRefs } from "./volumes/object-refs.ts";
import type { ServiceAccountTokens } from "./volumes/service-account-tokens.ts";
import type { VolumeReadings } from "./volumes/volume-readings.ts";
import type { Volumes } from "./volumes/volumes.ts";

/** What the steps of a Pod use, put together once by main.ts. */
export interface AgentContext {
  readonly config: AgentConfig;
  readonly nodeName: string;
  readonly runtime: Runtime;
  readonly client: ApiClient | undefined;
  /** Reads objects of the API one by one; remembers them for when it is out of reach. */
  readonly reader: ObjectReader | undefined;
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  readonly refs: ObjectRefs;
  readonly allocations: Allocations;
  readonly tokens: ServiceAccountTokens;
  readonly volumes: Volumes;
  readonly volumeReadings: VolumeReadings;
  readonly puller: ImagePuller;
  readonly pullRecords: PullRecords;
  readonly plugins: CredentialPlugins;
  readonly prober: Prober;
  /** What happened to each Pod lately, for those who ask why. */
  readonly journals: PodJournals;
  readonly cgroups: CgroupMounts | undefined;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly userNamespaces: UserNamespaces;
  readonly node: NodeState;
  /** Ends with the agent. */
  readonly signal: AbortSignal;
  /** The Pod has to be looked at again. */
  readonly markDirty: (podUid: string) => void;
}

/** What is known of the node now. */
export interface NodeState {
  readonly hostIps: () => readonly string[];
  readonly networkReady: () => boolean;
  readonly hostDns: () => DnsConfig;
  /** undefined until the first list has ended. */
  readonly services: () => readonly Service[] | undefined;
  readonly memoryBytes: number;
  readonly hugePages: readonly HugePages[];
  /** The lowest oom_score_adj this process may give to a child. */
  readonly minOomScoreAdj: number;
  readonly facts: (podIps: readonly string[]) => DownwardFacts;
  /** What the runtime tells of its handlers. */
  readonly handlers: () => readonly RuntimeHandler[];
  readonly labels: () => Readonly<Record<string, string>>;
}

/** An event about a Pod, or about one part of it. */
export function podEvent(
  context: AgentContext,
  pod: Pod,
  type: "Normal" | "Warning",
  reason: string,
  message: string,
  fieldPath?: string,
): void {
  context.recorder.event(
    {
      apiVersion: "v1",
      kind: "Pod",
      ...(pod.metadata === undefined ? {} : { metadata: pod.metadata }),
      ...(fieldPath === undefined ? {} : { fieldPath }),
    },
    type,
    reason,
    message,
  );
}
