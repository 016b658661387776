import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import type { LiveTable } from "../controllers/live-table.ts";
import { isPodFinished } from "../controllers/plan/pod-state.ts";
import { type NodeInfo, nodeInfo, withNode, withoutPod, withPod } from "./plan/node-info.ts";

/**
 * The nodes with what is on them, kept change by change. A pod that was given a node but is not bound yet
 * counts as being there, so that the next decision does not use its room again.
 */
export class ClusterView {
  readonly #infos = new Map<string, NodeInfo>();
  /** Where each pod counts. */
  readonly #placed = new Map<string, string>();
  /** Pods placed by us whose binding the watch has not shown yet. */
  readonly #assumed = new Map<string, Pod>();
  /** Pods on nodes that are not known (yet). */
  readonly #homeless = new Map<string, Map<string, Pod>>();
  readonly #changed: () => void;

  /** @param changed told when something changed that may make room for a pod that found none. */
  constructor(nodes: LiveTable<Node>, pods: LiveTable<Pod>, changed: () => void) {
    this.#changed = changed;
    nodes.subscribe((name, now, before) => this.#nodeChanged(name, now, before));
    pods.subscribe((key, now) => this.#podChanged(key, now));
  }

  /** The picture of this moment. */
  get nodes(): readonly NodeInfo[] {
    return [...this.#infos.values()];
  }

  /** Counts the pod on the node from now on. */
  assume(pod: Pod, node: string): void {
    const key = keyText(keyOf(pod));
    this.#assumed.set(key, pod);
    this.#place(key, pod, node);
  }

  /** The binding failed. */
  forget(pod: Pod): void {
    const key = keyText(keyOf(pod));
    if (this.#assumed.delete(key)) this.#remove(key);
  }

  isAssumed(key: string): boolean {
    return this.#assumed.has(key);
  }

  #nodeChanged(name: string, now: Node | undefined, before: Node | undefined): void {
    const info = this.#infos.get(name);
    if (now === undefined) {
      if (info !== undefined) this.#homeless.set(name, new Map(info.pods));
      this.#infos.delete(name);
      return;
    }
    if (info === undefined) {
      this.#infos.set(name, nodeInfo(now, this.#homeless.get(name) ?? new Map()));
      this.#homeless.delete(name);
    } else this.#infos.set(name, withNode(info, now));
    if (before === undefined || schedulingFacts(before) !== schedulingFacts(now)) this.#changed();
  }

  #podChanged(key: string, now: Pod | undefined): void {
    const assumed = this.#assumed.get(key);
    const node = now?.spec?.nodeName ?? "";
    if (assumed !== undefined) {
      // Still the pod we placed and not bound yet as far as the watch knows: our placement stands.
      if (now !== undefined && node === "" && now.metadata?.uid === assumed.metadata?.uid) return;
      this.#assumed.delete(key);
    }
    if (now !== undefined && node !== "" && !isPodFinished(now)) {
      this.#place(key, now, node);
      return;
    }
    if (this.#remove(key)) this.#changed();
  }

  #place(key: string, pod: Pod, node: string): void {
    if (this.#placed.get(key) !== node) this.#remove(key);
    this.#placed.set(key, node);
    const info = this.#infos.get(node);
    if (info !== undefined) this.#infos.set(node, withPod(info, key, pod));
    else {
      const waiting = this.#homeless.get(node) ?? new Map<string, Pod>();
      this.#homeless.set(node, waiting.set(key, pod));
    }
  }

  #remove(key: string): boolean {
    const node = this.#placed.get(key);
    if (node === undefined) return false;
    this.#placed.delete(key);
    const info = this.#infos.get(node);
    if (info !== undefined) this.#infos.set(node, withoutPod(info, key));
    const waiting = this.#homeless.get(node);
    waiting?.delete(key);
    if (waiting?.size === 0) this.#homeless.delete(node);
    return true;
  }
}

/** What of a node decides on placements; a heartbeat changes none of it. */
function schedulingFacts(node: Node): string {
  return JSON.stringify([
    node.metadata?.labels,
    node.spec?.taints,
    node.spec?.unschedulable,
    node.status?.allocatable,
  ]);
}
