import type { ApiClient } from "#api/client.ts";
import type { ConfigMap, Secret } from "#api/generated/kubernetes.ts";
import type { KubeObject, Resource } from "#api/meta.ts";
import { configMaps, secrets } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { ObjectView } from "../plan/volume-files.ts";

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
}

/**
 * ConfigMaps and Secrets that Pods of this node refer to, one watch for each object, as long as a Pod uses it.
 * A node may read only these objects, one by one, so there is no watch over all of them.
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

  /** Ends every watch. */
  async close(): Promise<void> {
    const all = [...this.#maps.values(), ...this.#secrets.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ running }) => running));
  }

  #useOf<T extends KubeObject>(
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

  #start<T extends KubeObject>(
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
    cache.subscribe(tell);
    void cache.synced(stop.signal).then(tell, () => undefined);
    const watched = { cache, users, stop, running: cache.run(stop.signal) };
    table.set(key, watched);
    return watched;
  }

  #view<T extends KubeObject>(watched: Watched<T> | undefined, kind: string, key: string): ObjectView<T> {
    if (watched === undefined)
      return { state: "loading", why: `${kind} "${key}" cannot be read without an API server` };
    const object = watched.cache.get(key);
    if (object !== undefined) return { state: "found", object };
    if (watched.cache.view.state === "complete") return { state: "absent" };
    const cause = watched.cache.lastError;
    return {
      state: "loading",
      why: cause === undefined ? `${kind} "${key}" is still being read` : errorText(cause),
    };
  }
}
