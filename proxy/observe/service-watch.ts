import type { EndpointSlice, Node, Service } from "#api/generated/kubernetes.ts";
import type { WatchCache } from "#api/watch-cache.ts";
import type { Family, NodeFacts, ServicePort } from "../model.ts";
import { serviceOfSlice, servicePorts } from "../plan/service-ports.ts";

/** The three resources a proxy reads. They may be shared with other readers. */
export interface ProxyCaches {
  readonly services: WatchCache<Service>;
  readonly slices: WatchCache<EndpointSlice>;
  /** All nodes or only ours. */
  readonly nodes: WatchCache<Node>;
}

const triggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";
const triggerLimit = 10_000;

/** What changed since the last look. */
export interface Dirty {
  /** `namespace/name` of Services. */
  readonly services: ReadonlySet<string>;
  /** When the changes behind it happened in the cluster, milliseconds since the epoch. */
  readonly triggers: readonly number[];
}

/** Services with their slices in one family, and which of them are dirty. */
export class ServiceWatch {
  readonly #caches: ProxyCaches;
  readonly #family: Family;
  readonly #nodeName: string;
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  readonly #leave: (() => void)[] = [];
  #dirty = new Set<string>();
  #triggers: number[] = [];
  #wake: (() => void) | undefined;

  constructor(caches: ProxyCaches, family: Family, nodeName: string) {
    this.#caches = caches;
    this.#family = family;
    this.#nodeName = nodeName;
    this.#leave.push(
      caches.services.subscribe((key) => this.#mark(key)),
      caches.slices.subscribe((key, now, before) => this.#sliceChanged(key, now, before)),
      caches.nodes.subscribe((key, now, before) => {
        if (key === nodeName && !sameFacts(now, before)) this.markAll();
      }),
    );
  }

  /** Resolves when Services and EndpointSlices are known completely: before that nothing may be written. */
  async synced(signal: AbortSignal): Promise<void> {
    await this.#caches.services.synced(signal);
    await this.#caches.slices.synced(signal);
  }

  /** The ports of one Service as they are known now; none when it is gone or not a proxy's business. */
  ports(service: string): readonly ServicePort[] {
    const object = this.#caches.services.get(service);
    if (object === undefined) return [];
    const slices = [...(this.#slices.get(service)?.values() ?? [])];
    return servicePorts(object, slices, this.#family, this.#nodeName);
  }

  /** The node as the API knows it. */
  get node(): NodeFacts {
    return nodeFacts(this.#caches.nodes.get(this.#nodeName), this.#nodeName);
  }

  markAll(): void {
    for (const key of this.#caches.services.view.state === "complete"
      ? this.#caches.services.view.all.keys()
      : []) {
      this.#dirty.add(key);
    }
    this.#wake?.();
  }

  /** Marks Services dirty again whose write failed. */
  putBack(services: Iterable<string>): void {
    for (const key of services) this.#dirty.add(key);
  }

  /** Takes what is dirty. */
  take(): Dirty {
    const taken = { services: this.#dirty, triggers: this.#triggers };
    this.#dirty = new Set();
    this.#triggers = [];
    return taken;
  }

  get isDirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** Calls once when something is or becomes dirty. Returns the way out. One waiter at a time. */
  onDirty(callback: () => void): () => void {
    this.#wake = callback;
    if (this.isDirty) callback();
    return () => {
      this.#wake = undefined;
    };
  }

  close(): void {
    for (const leave of this.#leave) leave();
  }

  #sliceChanged(key: string, now: EndpointSlice | undefined, before: EndpointSlice | undefined): void {
    const left = before === undefined ? undefined : serviceOfSlice(before);
    const joined = now === undefined ? undefined : serviceOfSlice(now);
    if (left !== undefined && left !== joined) {
      const rest = this.#slices.get(left);
      rest?.delete(key);
      if (rest?.size === 0) this.#slices.delete(left);
      this.#mark(left);
    }
    if (joined === undefined || now === undefined) return;
    const slices = this.#slices.get(joined) ?? new Map<string, EndpointSlice>();
    this.#slices.set(joined, slices.set(key, now));
    const trigger = Date.parse(now.metadata?.annotations?.[triggerAnnotation] ?? "");
    const known = before?.metadata?.annotations?.[triggerAnnotation];
    const isNews = known !== now.metadata?.annotations?.[triggerAnnotation];
    if (!Number.isNaN(trigger) && isNews && this.#triggers.length < triggerLimit)
      this.#triggers.push(trigger);
    this.#mark(joined);
  }

  #mark(service: string): void {
    this.#dirty.add(service);
    this.#wake?.();
  }
}

/** What the planner needs of a Node; also when the API does not know it yet. */
export function nodeFacts(node: Node | undefined, name: string): NodeFacts {
  return {
    name,
    zone: node?.metadata?.labels?.["topology.kubernetes.io/zone"] ?? "",
    ips: (node?.status?.addresses ?? [])
      .filter(({ type }) => type === "InternalIP" || type === "ExternalIP")
      .map(({ address }) => address),
    podCidrs: node?.spec?.podCIDRs ?? (node?.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]),
  };
}

/** A heartbeat changes a Node every few seconds; rules depend on little of it. */
function sameFacts(now: Node | undefined, before: Node | undefined): boolean {
  return JSON.stringify(nodeFacts(now, "")) === JSON.stringify(nodeFacts(before, ""));
}
