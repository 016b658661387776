import type { ApiClient } from "#api/client.ts";
import type { ConfigMap, Secret } from "#api/generated/kubernetes.ts";
import { type KubeObject, parseKey, type Resource, resourcePath } from "#api/meta.ts";
import { configMaps, secrets } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { ObjectView } from "../plan/volume-files.ts";

type MaybeImmutable = KubeObject & { readonly immutable?: boolean };

interface Watched<T extends KubeObject> {
  readonly cache: WatchCache<T>;
  readonly users: Set<string>;
  readonly stop: AbortController;
  readonly running: Promise<void>;
}

/** What the cache needs from its process. */
export interface ObjectRefsPorts {
  /** undefined without an API: then nothing can be referred to. */
  readonly client: ApiClient | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /**
   * An object by its path as an earlier life knew it, null when there was none. Only while the API is out of reach:
   * what is given then holds until the API speaks.
   */
  readonly recall?: (path: string) => KubeObject | null | undefined;
}

/**
 * ConfigMaps and Secrets that Pods of this node refer to, one watch for each object, as long as a Pod uses it.
 * A node may read only these objects, one by one, so there is no watch over all of them. One that is immutable is
 * read once.
 */
export class ObjectRefs {
  readonly #ports: ObjectRefsPorts;
  readonly #changed: (podUid: string) => void;
  readonly #maps = new Map<string, Watched<ConfigMap>>();
  readonly #secrets = new Map<string, Watched<Secret>>();

  /** @param changed told of each Pod that refers to an object that changed. */
  constructor(ports: ObjectRefsPorts, changed: (podUid: string) => void) {
    this.#ports = ports;
    this.#changed = changed;
  }

  /** A Pod refers to exactly these objects of its namespace from now on; none when it is gone. */
  use(
    podUid: string,
    namespace: string,
    names: { readonly configMaps: ReadonlySet<string>; readonly secrets: ReadonlySet<string> },
  ): void {
    this.#useOf(this.#maps, configMaps, podUid, namespace, names.configMaps);
    this.#useOf(this.#secrets, secrets, podUid, namespace, names.secrets);
  }

  configMap(namespace: string, name: string): ObjectView<ConfigMap> {
    return this.#view(this.#maps.get(`${namespace}/${name}`), "configmap", `${namespace}/${name}`);
  }

  secret(namespace: string, name: string): ObjectView<Secret> {
    return this.#view(this.#secrets.get(`${namespace}/${name}`), "secret", `${namespace}/${name}`);
  }

  /** Every object that a Pod uses, by its path; null when there is none, undefined while it is still being read. */
  known(): readonly {
    readonly path: string;
    readonly isSecret: boolean;
    readonly object: KubeObject | null | undefined;
  }[] {
    const of = <T extends KubeObject>(table: Map<string, Watched<T>>, isSecret: boolean) =>
      [...table].map(([key, { cache }]) => {
        const absent = cache.view.state === "complete" || cache.seeded ? null : undefined;
        return {
          path: resourcePath(cache.resource, parseKey(key)),
          isSecret,
          object: cache.get(key) ?? absent,
        };
      });
    return [...of(this.#maps, false), ...of(this.#secrets, true)];
  }

  /** Ends every watch. */
  async close(): Promise<void> {
    const all = [...this.#maps.values(), ...this.#secrets.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ running }) => running));
  }

  #useOf<T extends MaybeImmutable>(
    table: Map<string, Watched<T>>,
    resource: Resource<T>,
    podUid: string,
    namespace: string,
    names: ReadonlySet<string>,
  ): void {
    const { client } = this.#ports;
    if (client === undefined) return;
    const wanted = new Set([...names].map((name) => `${namespace}/${name}`));
    for (const key of wanted) {
      const watched = table.get(key) ?? this.#start(table, resource, key, client);
      watched.users.add(podUid);
    }
    for (const [key, { users, stop }] of table) {
      if (wanted.has(key) || !users.delete(podUid) || users.size > 0) continue;
      table.delete(key);
      stop.abort();
    }
  }

  #start<T extends MaybeImmutable>(
    table: Map<string, Watched<T>>,
    resource: Resource<T>,
    key: string,
    client: ApiClient,
  ): Watched<T> {
    const [namespace = "", name = ""] = key.split("/");
    const cache = new WatchCache(
      resource,
      { namespace, fieldSelector: `metadata.name=${name}` },
      { ...this.#ports, client },
    );
    const stop = new AbortController();
    const users = new Set<string>();
    const tell = (): void => {
      for (const uid of users) this.#changed(uid);
    };
    // It never changes: what the API has said is kept, and nobody watches.
    const rest = (object: T | undefined): void => {
      if (cache.view.state === "complete" && object?.immutable === true) stop.abort();
    };
    cache.subscribe((_, object) => {
      rest(object);
      tell();
    });
    const recalled = this.#ports.recall?.(resourcePath(resource, { namespace, name }));
    // Of the kind that its path names.
    if (recalled !== undefined) cache.seed(recalled === null ? [] : [recalled as T]);
    const told = (): void => {
      rest(cache.get(key));
      tell();
    };
    void cache.synced(stop.signal).then(told, () => undefined);
    const watched = { cache, users, stop, running: cache.run(stop.signal) };
    table.set(key, watched);
    return watched;
  }

  #view<T extends MaybeImmutable>(watched: Watched<T> | undefined, kind: string, key: string): ObjectView<T> {
    if (watched === undefined)
      return { state: "loading", why: `${kind} "${key}" cannot be read without an API server` };
    const object = watched.cache.get(key);
    if (object !== undefined) return { state: "found", object };
    if (watched.cache.view.state === "complete" || watched.cache.seeded) return { state: "absent" };
    const cause = watched.cache.lastError;
    return {
      state: "loading",
      why: cause === undefined ? `${kind} "${key}" is still being read` : errorText(cause),
    };
  }
}
