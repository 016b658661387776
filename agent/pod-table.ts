import { isDeepStrictEqual } from "node:util";
import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { markApiSource } from "./plan/mark-source.ts";
import { ownedConditions } from "./plan/pod-conditions.ts";
import { qosClass } from "./plan/qos.ts";
import { containersOf, type SpecContainer } from "./plan/containers-of.ts";
import { isMirror } from "./plan/mirror-pod.ts";
import { PodEntry } from "./pod-entry.ts";

/** Who hears of changes in the table. */
export interface PodTablePorts {
  readonly now: () => number;
  readonly dirty: (uid: string) => void;
  /** A mirror appeared, changed or went: `namespace/name`. */
  readonly mirrorChanged: (key: string) => void;
}

/** Every Pod of this node by uid, from all sources, and the mirrors of static Pods. Only bookkeeping. */
export class PodTable {
  readonly entries: Map<string, PodEntry> = new Map();
  /** By `namespace/name`. */
  readonly mirrors: Map<string, Pod> = new Map();
  readonly #ports: PodTablePorts;
  /** The static Pods there should be, by `namespace/name`. */
  #wanted: ReadonlyMap<string, Pod> = new Map();

  constructor(ports: PodTablePorts) {
    this.#ports = ports;
  }

  /** The API has, or no longer has, a Pod bound to this node. */
  apiChanged(key: string, now: Pod | undefined, before: Pod | undefined): void {
    if (before !== undefined && before.metadata?.uid !== now?.metadata?.uid) {
      if (isMirror(before)) this.mirrors.delete(key);
      else this.#letGo(before.metadata?.uid ?? "", "api");
    }
    if (now !== undefined && isMirror(now)) this.mirrors.set(key, now);
    if ((now !== undefined && isMirror(now)) || (before !== undefined && isMirror(before)))
      this.#ports.mirrorChanged(key);
    if (now === undefined || isMirror(now)) return;
    this.#apiHas(now);
  }

  #apiHas(told: Pod): void {
    const uid = told.metadata?.uid ?? "";
    const entry = this.entries.get(uid);
    if (entry === undefined || entry.source !== "api") {
      const nowMs = this.#ports.now();
      this.entries.set(uid, new PodEntry(markApiSource(told, nowMs), "api", nowMs));
      this.#ports.dirty(uid);
      return;
    }
    const now = markApiSource(told, entry.firstSeenMs);
    const old = entry.wanted;
    this.#take(entry, now);
    // A phase that we wrote ourselves comes back with the watch.
    const isOurs = now.status?.phase === entry.status?.phase;
    if (isRelevant(old, now) || (!isOurs && old.status?.phase !== now.status?.phase)) this.#ports.dirty(uid);
  }

  /** The whole set of static Pods as it is now. */
  staticChanged(pods: readonly Pod[]): void {
    this.#wanted = new Map(pods.map((pod) => [keyText(keyOf(pod)), pod]));
    const uids = new Set(pods.map((pod) => pod.metadata?.uid));
    for (const entry of this.entries.values()) {
      if (entry.source === "file" && !uids.has(entry.uid)) this.#letGo(entry.uid, "file");
    }
    for (const key of this.#wanted.keys()) this.#startStatic(key);
  }

  /** The runtime has something of a Pod that no source knows. */
  addOrphan(pod: Pod): void {
    const uid = pod.metadata?.uid ?? "";
    if (this.entries.has(uid)) return;
    const entry = new PodEntry(pod, "orphan", this.#ports.now());
    entry.gone = true;
    this.entries.set(uid, entry);
    this.#ports.dirty(uid);
  }

  /** Nothing is left of the Pod. A static Pod that waited for its name begins. */
  forget(entry: PodEntry): void {
    entry.stop.abort();
    if (this.entries.get(entry.uid) === entry) this.entries.delete(entry.uid);
    this.#startStatic(keyText(keyOf(entry.pod)));
  }

  /** Pods that take room on the node, without the one asked about. */
  admitted(except: string): readonly Pod[] {
    return [...this.entries.values()]
      .filter(
        ({ uid, admitted, verdict, cleaned }) =>
          // One that is turned out for another still has its room until it has ended.
          uid !== except &&
          admitted &&
          (verdict === undefined || verdict.reason === "Preempting") &&
          !cleaned,
      )
      .map(({ pod }) => pod);
  }

  /** Pods whose resize waits for room, the more important ones first: by priority, QoS class, then age (KEP-1287). */
  waitingForRoom(): readonly string[] {
    return [...this.entries.values()]
      .filter(({ pendingResize }) => pendingResize?.reason === "Deferred")
      .toSorted(
        (a, b) =>
          (b.pod.spec?.priority ?? 0) - (a.pod.spec?.priority ?? 0) ||
          qosOrder.indexOf(qosClass(a.pod)) - qosOrder.indexOf(qosClass(b.pod)) ||
          a.firstSeenMs - b.firstSeenMs,
      )
      .map(({ uid }) => uid);
  }

  /** The static Pod that a mirror of this name shows. */
  staticByKey(key: string): PodEntry | undefined {
    for (const entry of this.entries.values()) {
      if (entry.source === "file" && !entry.gone && keyText(keyOf(entry.pod)) === key) return entry;
    }
    return undefined;
  }

  /** The container of this id that the runtime was seen to have, with its Pod and its place in the Pod's spec. */
  containerById(id: string):
    | {
        readonly id: string;
        readonly name: string;
        readonly entry: PodEntry;
        readonly spec: SpecContainer | undefined;
      }
    | undefined {
    for (const entry of this.entries.values()) {
      const found = entry.runtime.containers.find((one) => one.id === id);
      if (found === undefined) continue;
      const spec = containersOf(entry.pod).find(({ container }) => container.name === found.name);
      return { id, name: found.name, entry, spec };
    }
    return undefined;
  }

  #startStatic(key: string): void {
    const pod = this.#wanted.get(key);
    const uid = pod?.metadata?.uid ?? "";
    if (pod === undefined || this.entries.get(uid)?.source === "file") return;
    for (const entry of this.entries.values()) {
      // An old version of the same Pod ends first: two would fight over ports and names.
      if (entry.source === "file" && keyText(keyOf(entry.pod)) === key) return;
    }
    this.entries.set(uid, new PodEntry(pod, "file", this.#ports.now()));
    this.#ports.dirty(uid);
  }

  #letGo(uid: string, source: "api" | "file"): void {
    const entry = this.entries.get(uid);
    if (entry === undefined || entry.source !== source) return;
    entry.gone = true;
    this.#ports.dirty(uid);
  }

  #take(entry: PodEntry, now: Pod): void {
    for (const container of [...(now.spec?.initContainers ?? []), ...(now.spec?.containers ?? [])]) {
      const before = [...(entry.pod.spec?.initContainers ?? []), ...(entry.pod.spec?.containers ?? [])].find(
        ({ name }) => name === container.name,
      );
      if (before !== undefined && before.image !== container.image) {
        entry.forgetImages(container.name);
        entry.startFailures.delete(container.name);
      }
    }
    entry.take(now);
    if (versionOf(now) >= entry.reportedVersion) entry.reported = now.status;
  }
}

const qosOrder = ["Guaranteed", "Burstable", "BestEffort"];

/** A revision as a number: what the watch tells may be older than what a write has answered. */
export function versionOf(pod: Pod): bigint {
  const text = pod.metadata?.resourceVersion ?? "";
  return /^\d+$/.test(text) ? BigInt(text) : 0n;
}

/** Whether the change asks for a look: not when it is only our own status coming back. */
function isRelevant(before: Pod, now: Pod): boolean {
  const core = ({ metadata, spec, status }: Pod): unknown => [
    spec,
    metadata?.labels,
    metadata?.annotations,
    metadata?.deletionTimestamp,
    metadata?.deletionGracePeriodSeconds,
    metadata?.generation,
    (status?.conditions ?? []).filter(({ type }) => !ownedConditions.includes(type)),
  ];
  return !isDeepStrictEqual(core(before), core(now));
}
