import { keyOf, keyText, type KubeObject, type Resource } from "#api/meta.ts";

/** An object as the garbage collector sees it. */
export interface GraphNode {
  readonly resource: Resource;
  /** `namespace/name`. */
  readonly key: string;
  readonly uid: string;
  readonly object: KubeObject;
}

/** Who owns whom, over all kinds; kept change by change. */
export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  /** The object of this uid, if it is known. */
  node(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  /** What names this uid as an owner. */
  dependents(uid: string): readonly GraphNode[] {
    return [...(this.#dependents.get(uid) ?? [])].flatMap((each) => this.#nodes.get(each) ?? []);
  }

  /** The object was added or changed. */
  set(resource: Resource, object: KubeObject): void {
    const uid = object.metadata?.uid ?? "";
    this.#unlink(this.#nodes.get(uid));
    this.#nodes.set(uid, { resource, key: keyText(keyOf(object)), uid, object });
    for (const owner of object.metadata?.ownerReferences ?? []) {
      const dependents = this.#dependents.get(owner.uid) ?? new Set();
      this.#dependents.set(owner.uid, dependents.add(uid));
    }
  }

  /** The object is gone. */
  delete(uid: string): void {
    this.#unlink(this.#nodes.get(uid));
    this.#nodes.delete(uid);
  }

  #unlink(node: GraphNode | undefined): void {
    for (const owner of node?.object.metadata?.ownerReferences ?? []) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(node?.uid ?? "");
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
    }
  }
}
