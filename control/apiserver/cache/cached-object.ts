import type { StoredObject } from "../../model.ts";

/** An object in memory: parsed once, and serialized at most once for all who ask. */
export class CachedObject {
  /** The store's key. */
  readonly key: string;
  readonly revision: bigint;
  /** As clients see it: with `metadata.resourceVersion`. */
  readonly object: StoredObject;
  #bytes: Uint8Array | undefined;

  /** @param stored the object as it lies in the store, without a resourceVersion. */
  constructor(key: string, stored: StoredObject, revision: bigint) {
    this.key = key;
    this.revision = revision;
    this.object = withRevision(stored, revision);
  }

  /** JSON, without a line end. */
  get bytes(): Uint8Array {
    this.#bytes ??= Buffer.from(JSON.stringify(this.object));
    return this.#bytes;
  }
}

/** The object with the revision that the store gave it. */
export function withRevision(stored: StoredObject, revision: bigint): StoredObject {
  return { ...stored, metadata: { ...stored.metadata, resourceVersion: String(revision) } };
}

/** The object as it is stored: the revision is the store's to know. */
export function withoutRevision(object: StoredObject): StoredObject {
  const { resourceVersion: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
