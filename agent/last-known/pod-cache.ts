import { chmod, readFile, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { ApiClient } from "#api/client.ts";
import type { Node, Pod, Service } from "#api/generated/kubernetes.ts";
import { type KubeObject, type ObjectKey, type Resource, resourcePath } from "#api/meta.ts";
import { StatusError } from "#api/status-error.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { writeFileAtomically } from "#lib/write-file.ts";
import {
  type KnownObject,
  type KnownToken,
  type LastKnown,
  nothingKnown,
  type PodCacheFile,
  type PodCacheMode,
  podCacheTexts,
  readPodCacheText,
} from "../plan/pod-cache-text.ts";
import type { ObjectReader } from "./object-reader.ts";

/** What the cache stands on. */
export interface PodCachePorts {
  readonly folder: string;
  readonly mode: PodCacheMode;
  /** How long nobody has to answer before the API counts as out of reach: after a boot it may only be slower. */
  readonly afterMs: number;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a node knows now, for the next life. */
export interface Knowledge {
  readonly node: Node | undefined;
  readonly pods: Iterable<Pod>;
  readonly services: Iterable<Service>;
  /** ConfigMaps and Secrets that Pods use; `object` is undefined for one whose first read has not ended. */
  readonly refs: readonly {
    readonly path: string;
    readonly isSecret: boolean;
    readonly object: KubeObject | null | undefined;
  }[];
  readonly tokens: readonly KnownToken[];
}

/** After a change, for those that come with it. */
const settleMs = 1_000;
/** Least time between two writes. */
const pauseMs = 4_000;
/** Between two looks at whether the API has answered: while it may come up, and later, when it does not let us in. */
const lookMs = 100;
const seldomMs = 2_000;
/** Objects read one by one that are remembered; the one that was read longest ago goes first. */
const maxObjects = 1_024;
/** A larger file is not one of ours. */
const maxFileBytes = 128 * 1_024 * 1_024;

/**
 * What the API last told this node, on the disk: a node that comes up with no control plane in reach runs its Pods
 * from it. It is read only while the API cannot be reached; nothing in it makes anything be called stale.
 */
export class PodCache {
  readonly #ports: PodCachePorts;
  readonly #written = new Map<PodCacheFile, string | undefined>();
  /** What was read one by one, the newest last. */
  readonly #objects = new Map<string, KubeObject | null>();
  /** ConfigMaps and Secrets that Pods use. */
  #refs: ReadonlyMap<string, KubeObject | null> = new Map();
  #tokens: readonly KnownToken[] = [];
  #left: Pick<LastKnown, "nodes" | "pods" | "services"> = nothingKnown;
  #away = false;
  readonly #reached = Promise.withResolvers<void>();
  #wanted = Promise.withResolvers<void>();
  #isWanted = false;

  private constructor(ports: PodCachePorts) {
    this.#ports = ports;
  }

  /** Reads what there is. What cannot be used is set aside and said; when the cache is off, it is removed. */
  static async open(ports: PodCachePorts): Promise<PodCache> {
    const cache = new PodCache(ports);
    if (ports.mode === "off") await cache.#remove(ports.folder);
    else await cache.#read();
    return cache;
  }

  /** Whether the Pods run from what is remembered, because the API has not been reached since the agent started. */
  get away(): boolean {
    return this.#away;
  }

  /**
   * Waits for the first list of this node's Pods, or until it is clear that none comes.
   * @returns what was known, when the API cannot be reached; undefined when it answered.
   */
  async whenAway(
    pods: { readonly view: { readonly state: string }; readonly lastError: unknown },
    signal: AbortSignal,
  ): Promise<Pick<LastKnown, "nodes" | "pods" | "services"> | undefined> {
    const { clock, mode, afterMs } = this.#ports;
    const sinceMs = clock.monotonicMs();
    while (mode !== "off" && pods.view.state === "listing") {
      const isTime = clock.monotonicMs() - sinceMs >= afterMs;
      if (isTime && isUnreachable(pods.lastError)) {
        this.#away = true;
        return this.#left;
      }
      await clock.sleep(isTime ? seldomMs : lookMs, signal);
    }
    this.back();
    return undefined;
  }

  /** The API has spoken: what it does not tell is no longer so. */
  back(): void {
    this.#away = false;
    this.#reached.resolve();
    this.#left = nothingKnown;
  }

  /** Resolves when the API has spoken. */
  async reached(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const end = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => end.reject(signal.reason), { once: true, signal: over.signal });
    try {
      signal.throwIfAborted();
      await Promise.race([this.#reached.promise, end.promise]);
    } finally {
      over.abort();
    }
  }

  /** An object as it was known, null when it was known not to be there. Only while the API is out of reach. */
  recall(path: string): KubeObject | null | undefined {
    if (!this.#away) return undefined;
    const ref = this.#refs.get(path);
    return ref === undefined ? this.#objects.get(path) : ref;
  }

  /** A token that was known, even one that is past its end. Only while the API is out of reach. */
  token(podUid: string, audience: string, expirationSeconds: number): KnownToken | undefined {
    if (!this.#away) return undefined;
    return this.#tokens.find(
      (one) =>
        one.podUid === podUid && one.audience === audience && one.expirationSeconds === expirationSeconds,
    );
  }

  /** Reads from the API and remembers; answers from memory while the API is out of reach. */
  reader(client: ApiClient): ObjectReader {
    return {
      get: async <T extends KubeObject>(
        resource: Resource<T>,
        key: ObjectKey,
        signal: AbortSignal,
      ): Promise<T> => {
        const place = resourcePath(resource, key);
        const known = this.recall(place);
        if (known !== undefined && known !== null) return known as T;
        try {
          const found = await client.get(resource, key, signal);
          this.#remember(place, found);
          return found;
        } catch (cause) {
          if (cause instanceof StatusError && cause.reason === "NotFound") this.#forget(place);
          throw cause;
        }
      },
    };
  }

  /** What is known has changed. */
  changed(): void {
    this.#isWanted = true;
    this.#wanted.resolve();
  }

  /**
   * Writes what is known, soon after each change, until the signal; and once more then.
   * @param collect undefined while not everything is known.
   */
  async run(collect: () => Knowledge | undefined, signal: AbortSignal): Promise<void> {
    const { clock, mode } = this.#ports;
    if (mode === "off") return;
    const end = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => end.resolve(), { once: true });
    const pause = (ms: number): Promise<void> => clock.sleep(ms, signal).catch(() => undefined);
    while (!signal.aborted) {
      await Promise.race([this.#wanted.promise, end.promise]);
      await pause(settleMs);
      await this.#write(collect);
      await pause(pauseMs);
    }
    await this.#write(collect);
  }

  async #write(collect: () => Knowledge | undefined): Promise<void> {
    const { folder, mode, nodeName, log } = this.#ports;
    const now = this.#isWanted ? collect() : undefined;
    if (now === undefined) return;
    this.#isWanted = false;
    this.#wanted = Promise.withResolvers<void>();
    try {
      const { texts, leftOut } = podCacheTexts(this.#merge(now), nodeName, mode);
      if (leftOut > 0) log.warn("the Pod cache is full", { folder, leftOut });
      await makeFolder(folder, 0o700);
      await chmod(folder, 0o700);
      for (const [file, text] of texts) {
        if (this.#written.has(file) && this.#written.get(file) === text) continue;
        const place = fileOf(folder, file);
        if (text === undefined) await rm(place, { force: true });
        else await writeFileAtomically(place, text, 0o600);
        this.#written.set(file, text);
      }
    } catch (cause) {
      // The node runs on; it would only be without its Pods after a reboot.
      log.warn("cannot write the Pod cache", { folder, cause: errorText(cause) });
      this.#isWanted = true; // with the next change
    }
  }

  /** Puts what is known now together with what was known of things that have not been read again yet. */
  #merge({ node, pods, services, refs, tokens }: Knowledge): LastKnown {
    const list = [...pods];
    const known = new Map<string, KubeObject | null>();
    const secrets = new Set<string>();
    for (const { path: place, isSecret, object } of refs) {
      const now = object === undefined ? this.#refs.get(place) : object;
      if (now === undefined) continue;
      known.set(place, now);
      if (isSecret) secrets.add(place);
    }
    this.#refs = known;
    for (const place of this.#objects.keys()) if (isSecretPath(place)) secrets.add(place);
    const uids = new Set(list.map(({ metadata }) => metadata?.uid));
    const fresh = new Set(tokens.map(tokenKey));
    const kept = this.#tokens.filter((token) => uids.has(token.podUid) && !fresh.has(tokenKey(token)));
    this.#tokens = [...tokens, ...kept];
    const all = [...this.#objects, ...known].map(([place, object]) => ({ path: place, object }));
    return {
      nodes: node === undefined ? [] : [node],
      pods: list,
      services: [...services],
      objects: all.filter((one) => !secrets.has(one.path)),
      secrets: all.filter((one) => secrets.has(one.path)),
      tokens: this.#tokens,
    };
  }

  #remember(place: string, object: KubeObject): void {
    if (isSecretPath(place) && this.#ports.mode !== "with-secrets") return;
    this.#objects.delete(place);
    this.#objects.set(place, object);
    const oldest = this.#objects.keys().next().value;
    if (this.#objects.size > maxObjects && oldest !== undefined) this.#objects.delete(oldest);
    this.changed();
  }

  #forget(place: string): void {
    if (this.#objects.delete(place)) this.changed();
  }

  async #read(): Promise<void> {
    const { folder, mode } = this.#ports;
    const isSecret = mode === "with-secrets";
    if (!isSecret) {
      for (const file of ["secrets", "tokens"] as const) {
        await this.#remove(fileOf(folder, file));
        await this.#remove(`${fileOf(folder, file)}.broken`);
      }
    }
    const nodes = await this.#readFile("nodes");
    const pods = await this.#readFile("pods");
    const services = await this.#readFile("services");
    this.#left = { nodes: nodes as Node[], pods: pods as Pod[], services: services as Service[] };
    const objects = [
      ...(await this.#readFile("objects")),
      ...(isSecret ? await this.#readFile("secrets") : []),
    ] as KnownObject[];
    const isRef = ({ path: place }: KnownObject): boolean => /\/(configmaps|secrets)\/[^/]+$/.test(place);
    const pairs = (list: readonly KnownObject[]): [string, KubeObject | null][] =>
      list.map(({ path: place, object }) => [place, object]);
    this.#refs = new Map(pairs(objects.filter(isRef)));
    for (const [place, object] of pairs(objects.filter((one) => !isRef(one))))
      this.#objects.set(place, object);
    if (isSecret) this.#tokens = (await this.#readFile("tokens")) as KnownToken[];
  }

  async #remove(place: string): Promise<void> {
    try {
      await rm(place, { recursive: true, force: true });
    } catch (cause) {
      this.#ports.log.error("cannot remove what must not be kept", { place, cause: errorText(cause) });
    }
  }

  /** What the file has; nothing when it cannot be used, and then it is set aside. */
  async #readFile(file: PodCacheFile): Promise<readonly unknown[]> {
    const { folder, nodeName, log } = this.#ports;
    const place = fileOf(folder, file);
    try {
      const { size } = await stat(place);
      if (size > maxFileBytes) throw new Error(`it has ${size} bytes, more than ${maxFileBytes}`);
      return readPodCacheText(await readFile(place, "utf8"), nodeName);
    } catch (cause) {
      if (isMissing(cause)) return [];
      log.warn("a file of the Pod cache cannot be used and is set aside", {
        file: place,
        aside: `${place}.broken`,
        cause: errorText(cause),
      });
      await rename(place, `${place}.broken`).catch(() => undefined);
      return [];
    }
  }
}

function isSecretPath(place: string): boolean {
  return /\/secrets\/[^/]+$/.test(place);
}

function fileOf(folder: string, file: PodCacheFile): string {
  return path.join(folder, `${file}.jsonl`);
}

function tokenKey({ podUid, audience, expirationSeconds }: KnownToken): string {
  return `${podUid}\0${audience}\0${expirationSeconds}`;
}

/** Whether nobody answered, or only somebody who stands before an API that is away. Undefined is no word at all. */
function isUnreachable(cause: unknown): boolean {
  return !(cause instanceof StatusError) || cause.code >= 500;
}
