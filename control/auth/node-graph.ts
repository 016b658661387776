import type { PersistentVolumeClaim, Pod } from "#api/generated/kubernetes.ts";
import type { Lister } from "../observe/lookup.ts";
import { type ReferredKind, podReferences, referenceKey } from "./plan/pod-references.ts";
import type { NodeReach } from "./plan/authorize-node.ts";
import type { Source } from "./rbac-rules.ts";

/**
 * What each node's Pods refer to. Follows the Pod cache: a change costs what that one Pod refers to.
 */
export class NodeGraph implements NodeReach {
  /** Node -> reference -> how many of its Pods have it. */
  readonly #counts = new Map<string, Map<string, number>>();
  /** Pod -> what was counted for it, so that exactly that is taken back. */
  readonly #counted = new Map<string, { readonly node: string; readonly references: readonly string[] }>();
  readonly #claims: Lister<PersistentVolumeClaim>;
  readonly #stop: () => void;

  constructor(pods: Source<Pod>, claims: Lister<PersistentVolumeClaim>) {
    this.#claims = claims;
    this.#stop = pods.subscribe((key, pod) => this.#change(key, pod));
  }

  reaches(node: string, kind: ReferredKind, namespace: string, name: string): boolean {
    return this.#counts.get(node)?.has(referenceKey(kind, namespace, name)) ?? false;
  }

  reachesVolume(node: string, volume: string): boolean {
    for (const claim of this.#claims.values()) {
      if (claim.spec?.volumeName !== volume) continue;
      const { namespace = "", name = "" } = claim.metadata ?? {};
      if (this.reaches(node, "persistentvolumeclaims", namespace, name)) return true;
    }
    return false;
  }

  close(): void {
    this.#stop();
  }

  #change(key: string, pod: Pod | undefined): void {
    const old = this.#counted.get(key);
    if (old !== undefined) this.#count(old.node, old.references, -1);
    this.#counted.delete(key);
    const node = pod?.spec?.nodeName ?? "";
    if (pod === undefined || node === "") return;
    const references = podReferences(pod);
    this.#counted.set(key, { node, references });
    this.#count(node, references, 1);
  }

  #count(node: string, references: readonly string[], step: 1 | -1): void {
    const counts = this.#counts.get(node) ?? new Map<string, number>();
    for (const reference of references) {
      const count = (counts.get(reference) ?? 0) + step;
      if (count > 0) counts.set(reference, count);
      else counts.delete(reference);
    }
    if (counts.size === 0) this.#counts.delete(node);
    else this.#counts.set(node, counts);
  }
}
