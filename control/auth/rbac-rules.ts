import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  RbacV1Subject,
  Role,
  RoleBinding,
} from "#api/generated/kubernetes.ts";
import { keyText } from "#api/meta.ts";
import { matches, requirementsOf } from "#api/selectors.ts";
import type { Changed } from "#api/watch-cache.ts";
import type { User } from "../model.ts";
import type { Lister } from "../observe/lookup.ts";
import { serviceAccountUser } from "./plan/token-claims.ts";

/** A cache that tells of its changes. */
export interface Source<T> extends Lister<T> {
  subscribe(changed: Changed<T>): () => void;
}

/** The four kinds of RBAC. */
export interface RbacSources {
  readonly roles: Source<Role>;
  readonly roleBindings: Source<RoleBinding>;
  readonly clusterRoles: Source<ClusterRole>;
  readonly clusterRoleBindings: Source<ClusterRoleBinding>;
}

type AnyBinding = RoleBinding | ClusterRoleBinding;

/**
 * Which rules a user has. Bindings are indexed by who they name, so an answer costs what this user's bindings
 * cost, not what the cluster's do; the index follows the caches.
 */
export class RbacRules {
  readonly #sources: RbacSources;
  /** `user:alice` or `group:devs` -> the keys of cluster-wide bindings. */
  readonly #everywhere = new SubjectIndex();
  /** The same for bindings in a namespace; their keys start with it. */
  readonly #within = new Map<string, SubjectIndex>();
  readonly #stop: (() => void)[];

  constructor(sources: RbacSources) {
    this.#sources = sources;
    this.#stop = [
      sources.clusterRoleBindings.subscribe((key, now, before) => this.#everywhere.change(key, now, before)),
      sources.roleBindings.subscribe((key, now, before) => this.#changeWithin(key, now, before)),
    ];
  }

  /** The rules of a user in a namespace ("" for cluster-wide), from cluster-wide bindings first. */
  *of(user: User, namespace: string): Generator<PolicyRule, void, undefined> {
    const subjects = subjectsOf(user);
    for (const key of this.#everywhere.find(subjects)) {
      yield* this.#rulesOf(this.#sources.clusterRoleBindings.get(key), "");
    }
    if (namespace === "") return;
    for (const key of this.#within.get(namespace)?.find(subjects) ?? []) {
      yield* this.#rulesOf(this.#sources.roleBindings.get(key), namespace);
    }
  }

  /** The rules a role reference stands for; nothing for a role that is not there. */
  *ofRole(ref: AnyBinding["roleRef"], namespace: string): Generator<PolicyRule, void, undefined> {
    if (ref.kind === "Role") {
      yield* this.#sources.roles.get(keyText({ namespace, name: ref.name }))?.rules ?? [];
      return;
    }
    const role = this.#sources.clusterRoles.get(ref.name);
    if (role === undefined) return;
    yield* role.rules ?? [];
    for (const selector of role.aggregationRule?.clusterRoleSelectors ?? []) {
      const wanted = requirementsOf(selector);
      for (const other of this.#sources.clusterRoles.values()) {
        if (other !== role && matches(wanted, other.metadata?.labels)) yield* other.rules ?? [];
      }
    }
  }

  close(): void {
    for (const stop of this.#stop) stop();
  }

  *#rulesOf(binding: AnyBinding | undefined, namespace: string): Generator<PolicyRule, void, undefined> {
    if (binding !== undefined) yield* this.ofRole(binding.roleRef, namespace);
  }

  #changeWithin(key: string, now: RoleBinding | undefined, before: RoleBinding | undefined): void {
    const namespace = key.slice(0, key.indexOf("/"));
    const index = this.#within.get(namespace) ?? new SubjectIndex();
    index.change(key, now, before);
    if (index.size === 0) this.#within.delete(namespace);
    else this.#within.set(namespace, index);
  }
}

class SubjectIndex {
  readonly #bindings = new Map<string, Set<string>>();

  get size(): number {
    return this.#bindings.size;
  }

  change(key: string, now: AnyBinding | undefined, before: AnyBinding | undefined): void {
    for (const subject of before?.subjects ?? []) {
      const name = subjectKey(subject, before?.metadata?.namespace ?? "");
      const keys = this.#bindings.get(name);
      keys?.delete(key);
      if (keys?.size === 0) this.#bindings.delete(name);
    }
    for (const subject of now?.subjects ?? []) {
      const name = subjectKey(subject, now?.metadata?.namespace ?? "");
      const keys = this.#bindings.get(name) ?? new Set();
      this.#bindings.set(name, keys.add(key));
    }
  }

  find(subjects: readonly string[]): Set<string> {
    const found = new Set<string>();
    for (const subject of subjects) for (const key of this.#bindings.get(subject) ?? []) found.add(key);
    return found;
  }
}

function subjectsOf(user: User): readonly string[] {
  return [`user:${user.name}`, ...user.groups.map((group) => `group:${group}`)];
}

/** A ServiceAccount is the user its tokens prove; without a namespace it is one of the binding's own. */
function subjectKey(subject: RbacV1Subject, within: string): string {
  if (subject.kind === "Group") return `group:${subject.name}`;
  if (subject.kind === "ServiceAccount") {
    return `user:${serviceAccountUser(subject.namespace ?? within, subject.name)}`;
  }
  return `user:${subject.name}`;
}
