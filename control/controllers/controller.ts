import type { ApiClient } from "#api/client.ts";
import type { EventRecorder } from "#api/event-recorder.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import type { Step } from "#lib/reconcile.ts";
import { WorkQueue } from "#lib/work-queue.ts";
import type { Tables } from "./tables.ts";

/** What the controllers are told by their operator. */
export interface ControllersConfig {
  /** Addresses for pods, `10.244.0.0/16`; each node gets a part of it. */
  readonly clusterCidr: string;
  /** Size of a node's part, as a prefix length; 24 unless given. */
  readonly nodeCidrMaskSize?: number;
  /** A node whose lease is older than this is unknown, in milliseconds; 50 s unless given. */
  readonly nodeMonitorGraceMs?: number;
  /** The cluster's CA, published in every namespace as ConfigMap `kube-root-ca.crt`. */
  readonly rootCaPem: string;
  /** Finished pods that are kept in the API before the oldest go; 12,500 unless given. */
  readonly terminatedPodLimit?: number;
}

/** What `runControllers` needs from its process. */
export interface ControllersPorts {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly events: EventRecorder;
  /** A recorder in the name of one controller, `deployment-controller`; `events` for all unless given. */
  readonly recorderFor?: (component: string) => EventRecorder;
  readonly config: ControllersConfig;
  /** Shared with other parts of this process; made and run by the controllers themselves unless given. */
  readonly tables?: Tables;
}

/** What each controller is made with. */
export interface ControllerPorts extends ControllersPorts {
  readonly tables: Tables;
}

/** Keys that may wait in one controller; the largest cluster has 150,000 pods. */
const queueLimit = 500_000;

/** One level-driven loop: what is dirty, and the step that makes one key right. */
export interface Controller {
  readonly name: string;
  readonly queue: WorkQueue<string>;
  /** How many keys are worked on side by side. */
  readonly workers: number;
  readonly step: Step<string>;
}

/** A queue with the back-off all controllers share: a conflict is tried again almost at once. */
export function controllerQueue(clock: Clock): WorkQueue<string> {
  return new WorkQueue<string>({ limit: queueLimit, backoff: { firstMs: 5, maxMs: 60_000 }, clock });
}
