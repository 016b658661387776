import { createHash } from "node:crypto";
import type { Node, Pod, Service } from "#api/generated/kubernetes.ts";
import type { KubeObject } from "#api/meta.ts";
import { isMirror } from "./mirror-pod.ts";

/** What of the API's objects is kept on the disk. */
export type PodCacheMode = "off" | "without-secrets" | "with-secrets";

/** An object by its path in the API; null when the API has said that there is none. */
export interface KnownObject {
  readonly path: string;
  readonly object: KubeObject | null;
}

/** A token of a Pod's service account. Times are wall time in milliseconds. */
export interface KnownToken {
  readonly podUid: string;
  readonly audience: string;
  readonly expirationSeconds: number;
  readonly token: string;
  readonly refreshAtMs: number;
  readonly expiresAtMs: number;
}

/** What a node has to know to run its Pods without an API. */
export interface LastKnown {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  /** ConfigMaps, claims, classes and everything else that Pods lead to; and of Secrets that there is none. */
  readonly objects: readonly KnownObject[];
  readonly secrets: readonly KnownObject[];
  readonly tokens: readonly KnownToken[];
}

/** The files of the cache, each a list of one kind of things. */
export const podCacheFiles = ["nodes", "pods", "services", "objects", "secrets", "tokens"] as const;
/** One of {@link podCacheFiles}. */
export type PodCacheFile = (typeof podCacheFiles)[number];

/** Nothing is known. */
export const nothingKnown: LastKnown = {
  nodes: [],
  pods: [],
  services: [],
  objects: [],
  secrets: [],
  tokens: [],
};

/** Counted up when a reader of before could misread the files. */
const version = 1;
/** Bytes of one file; what does not fit is left out, and said. */
const maxFileBytes = 64 * 1_024 * 1_024;

/** A file of the cache cannot be used. */
export class PodCacheError extends Error {
  override readonly name = "PodCacheError";
}

/**
 * The text of every file, in the order in which a power cut does least harm: what Pods lead to before the Pods.
 * A file without a text is not to be there.
 * @returns with how many things did not fit.
 */
export function podCacheTexts(
  known: LastKnown,
  nodeName: string,
  mode: PodCacheMode,
): { readonly texts: ReadonlyMap<PodCacheFile, string | undefined>; readonly leftOut: number } {
  const kept = itemsOf(known, mode);
  let leftOut = 0;
  const texts = new Map<PodCacheFile, string | undefined>();
  for (const file of podCacheFiles.toReversed()) {
    const lines: string[] = [];
    let bytes = 0;
    for (const item of kept[file] ?? []) {
      const line = JSON.stringify(item);
      bytes += Buffer.byteLength(line) + 1;
      if (bytes <= maxFileBytes) lines.push(line);
      else leftOut += 1;
    }
    const body = lines.map((line) => `${line}\n`).join("");
    const head = { kind: "PodCache", version, node: nodeName, sha256: hash(body) };
    texts.set(file, kept[file] === undefined ? undefined : `${JSON.stringify(head)}\n${body}`);
  }
  return { texts, leftOut };
}

/**
 * The things in a file of the cache.
 * @throws {PodCacheError} for a file that was cut off or changed, is of another version, or of another node.
 */
export function readPodCacheText(text: string, nodeName: string): readonly unknown[] {
  const end = text.indexOf("\n");
  const head = parse(end < 0 ? text : text.slice(0, end));
  const body = end < 0 ? "" : text.slice(end + 1);
  if (typeof head !== "object" || head === null || !("kind" in head) || head.kind !== "PodCache")
    throw new PodCacheError("it is not a file of the Pod cache");
  if (!("version" in head) || head.version !== version)
    throw new PodCacheError(
      `it has version ${"version" in head ? String(head.version) : "none"}, not ${version}`,
    );
  if (!("node" in head) || head.node !== nodeName)
    throw new PodCacheError(`it was written by node "${"node" in head ? String(head.node) : ""}"`);
  if (!("sha256" in head) || head.sha256 !== hash(body))
    throw new PodCacheError("its content is not what was written: the checksum differs");
  return body
    .split("\n")
    .filter((line) => line !== "")
    .map(parse);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PodCacheError("it is not JSON", { cause });
  }
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** What goes into each file; undefined for a file that must not be there. */
function itemsOf(
  known: LastKnown,
  mode: PodCacheMode,
): Readonly<Record<PodCacheFile, readonly unknown[] | undefined>> {
  const pods = known.pods.filter((pod) => !isMirror(pod));
  const spaces = new Set(pods.map(({ metadata }) => metadata?.namespace));
  const withSecrets = mode === "with-secrets";
  return {
    // The images of a node are listed anew before anybody asks.
    nodes: known.nodes.map((node) => {
      const { images: _, ...status } = node.status ?? {};
      return { ...slim(node), status };
    }),
    pods: pods.map(slim),
    services: known.services
      .filter(({ metadata }) => spaces.has(metadata?.namespace) || metadata?.namespace === "default")
      .map(slim),
    objects: [...known.objects, ...known.secrets.filter(({ object }) => object === null)].map(slimKnown),
    secrets: withSecrets ? known.secrets.filter(({ object }) => object !== null).map(slimKnown) : undefined,
    tokens: withSecrets ? known.tokens : undefined,
  };
}

function slimKnown({ path, object }: KnownObject): KnownObject {
  return { path, object: object && slim(object) };
}

/** Who wrote which field is of no use to a node. */
function slim<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata ?? {};
  return { ...object, metadata };
}
