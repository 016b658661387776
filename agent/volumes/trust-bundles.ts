import type { ApiClient } from "#api/client.ts";
import { type ClusterTrustBundle, clusterTrustBundles } from "#api/cluster-trust-bundle.ts";
import type { ClusterTrustBundleProjection } from "#api/generated/kubernetes.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { selectBundles, trustAnchors } from "../plan/trust-anchors.ts";
import type { ObjectView } from "../plan/volume-files.ts";

/** What watching them needs from its process. */
export interface TrustBundlesPorts {
  /** undefined without an API: then there are none. */
  readonly client: ApiClient | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

interface Watched {
  readonly cache: WatchCache<ClusterTrustBundle>;
  readonly users: Set<string>;
  readonly stop: AbortController;
  readonly running: Promise<void>;
}

/** ClusterTrustBundles that Pods of this node project: one watch for each name and each signer, while a Pod uses it. */
export class TrustBundles {
  readonly #ports: TrustBundlesPorts;
  readonly #changed: (podUid: string) => void;
  readonly #watched = new Map<string, Watched>();

  /** @param changed told of each Pod whose bundles may be others now. */
  constructor(ports: TrustBundlesPorts, changed: (podUid: string) => void) {
    this.#ports = ports;
    this.#changed = changed;
  }

  /** The certificates that a Pod's projection shows now; the Pod hears of every change from now on. */
  text(podUid: string, projection: ClusterTrustBundleProjection): ObjectView<string> {
    const watched = this.#use(podUid, selectorOf(projection));
    if (watched === undefined)
      return { state: "loading", why: "a ClusterTrustBundle cannot be read without an API server" };
    const { cache } = watched;
    const selected =
      projection.name === undefined ? selectBundles(projection, cache.values()) : [...cache.values()];
    if (selected.length > 0)
      return { state: "found", object: trustAnchors(selected.map(({ spec }) => spec?.trustBundle ?? "")) };
    if (cache.view.state === "complete") return { state: "absent" };
    const cause = cache.lastError;
    const why = "ClusterTrustBundle is still being read";
    return { state: "loading", why: cause === undefined ? why : errorText(cause) };
  }

  /** The Pod uses none any more. */
  forget(podUid: string): void {
    for (const [selector, { users, stop }] of this.#watched) {
      if (!users.delete(podUid) || users.size > 0) continue;
      this.#watched.delete(selector);
      stop.abort();
    }
  }

  /** Ends every watch. */
  async close(): Promise<void> {
    const all = [...this.#watched.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ running }) => running));
  }

  #use(podUid: string, selector: string): Watched | undefined {
    const { client } = this.#ports;
    if (client === undefined) return undefined;
    const watched = this.#watched.get(selector) ?? this.#start(selector, client);
    watched.users.add(podUid);
    return watched;
  }

  #start(fieldSelector: string, client: ApiClient): Watched {
    const cache = new WatchCache(clusterTrustBundles, { fieldSelector }, { ...this.#ports, client });
    const stop = new AbortController();
    const users = new Set<string>();
    const tell = (): void => {
      for (const uid of users) this.#changed(uid);
    };
    cache.subscribe(tell);
    void cache.synced(stop.signal).then(tell, () => undefined);
    const watched = { cache, users, stop, running: cache.run(stop.signal) };
    this.#watched.set(fieldSelector, watched);
    return watched;
  }
}

function selectorOf({ name, signerName = "" }: ClusterTrustBundleProjection): string {
  return name === undefined ? `spec.signerName=${signerName}` : `metadata.name=${name}`;
}
