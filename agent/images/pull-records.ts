import { createHash } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { writeFileAtomically } from "#lib/write-file.ts";
import {
  afterPull,
  hasAccounts,
  isOfAccount,
  needsCredentials,
  type PulledRecord,
  readRecord,
  recordText,
  type SourcedAuth,
  type SourceMark,
  type VerificationPolicy,
  wasLetIn,
} from "../plan/pull-records.ts";

/** Where records outlive the agent: two folders of small files. */
export interface RecordStore {
  readonly list: (folder: RecordFolder) => Promise<ReadonlyMap<string, string>>;
  readonly write: (folder: RecordFolder, name: string, text: string) => Promise<void>;
  readonly remove: (folder: RecordFolder, name: string) => Promise<void>;
}
type RecordFolder = "pulling" | "pulled";

/** What records stand on. */
export interface RecordPorts {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: VerificationPolicy;
  readonly allowlist: readonly string[];
}

/** Files under `<root>/image_manager`, where the kubelet keeps the same. */
export function recordFolder(rootDir: string): RecordStore {
  const place = (folder: RecordFolder): string => path.join(rootDir, "image_manager", folder);
  return {
    list: async (folder) => {
      await makeFolder(place(folder), 0o700);
      const names = (await readdir(place(folder))).filter((name) => name.startsWith("sha256-"));
      const texts = names.map(
        async (name) => [name, await readFile(path.join(place(folder), name), "utf8")] as const,
      );
      return new Map(await Promise.all(texts));
    },
    write: (folder, name, text) => writeFileAtomically(path.join(place(folder), name), text, 0o600),
    remove: (folder, name) => rm(path.join(place(folder), name), { force: true }),
  };
}

/**
 * Remembers with whose credentials images came to this node, so that a Pod without them cannot use what another's
 * brought. A pull is written down before it begins: an agent that dies in it asks for credentials afterwards.
 * @see KEP-2535
 */
export class PullRecords {
  readonly #ports: RecordPorts;
  readonly #pulled = new Map<string, PulledRecord>();
  readonly #intended = new Set<string>();
  readonly #running = new Map<string, number>();

  private constructor(ports: RecordPorts) {
    this.#ports = ports;
  }

  /** @throws Error when the store cannot be read. */
  static async open(ports: RecordPorts): Promise<PullRecords> {
    const records = new PullRecords(ports);
    for (const [name, text] of await ports.store.list("pulled")) {
      try {
        records.#pulled.set(name, readRecord(text));
      } catch (cause) {
        // It is of an image that was pulled; by whom is lost, so that everybody has to show credentials.
        ports.log.warn("a record of an image cannot be read", { file: name, cause: errorText(cause) });
        records.#pulled.set(name, { imageRef: "", lastUpdatedTime: "", credentialMapping: {} });
      }
    }
    for (const name of (await ports.store.list("pulling")).keys()) records.#intended.add(name);
    return records;
  }

  /** Whether a Pod may use an image that is on the node; its credentials are asked for only if they matter. */
  async mayUse(
    image: string,
    imageRef: string,
    credentials: () => Promise<readonly SourcedAuth[]>,
    account: () => Promise<SourceMark | undefined>,
  ): Promise<boolean> {
    const { policy, allowlist } = this.#ports;
    const record = this.#pulled.get(fileName(imageRef));
    const isIntended = this.#intended.has(fileName(image));
    if (!needsCredentials(image, { policy, allowlist, record, isIntended })) return true;
    if (hasAccounts(image, record)) {
      const own = await account();
      if (own !== undefined && isOfAccount(image, record, own)) return true;
    }
    return wasLetIn(image, record, await credentials());
  }

  /** Notes a pull before it begins. @throws Error when it cannot be written down: then nothing may be pulled. */
  async begin(image: string): Promise<void> {
    const name = fileName(image);
    this.#running.set(name, (this.#running.get(name) ?? 0) + 1);
    if (this.#intended.has(name)) return;
    this.#intended.add(name);
    const head = { kind: "ImagePullIntent", apiVersion: "kubelet.config.k8s.io/v1beta1" };
    await this.#ports.store.write("pulling", name, `${JSON.stringify({ ...head, image })}\n`);
  }

  /** Notes how a pull ended that was begun. @param pulled undefined when nothing came. */
  async end(
    image: string,
    pulled: { readonly imageRef: string; readonly used: SourcedAuth | undefined } | undefined,
  ): Promise<void> {
    const { store, clock, log } = this.#ports;
    const name = fileName(image);
    const left = (this.#running.get(name) ?? 1) - 1;
    if (left > 0) this.#running.set(name, left);
    else this.#running.delete(name);
    try {
      if (pulled !== undefined) {
        const file = fileName(pulled.imageRef);
        const now = new Date(clock.now());
        const record = afterPull(this.#pulled.get(file), image, pulled.imageRef, pulled.used, now);
        this.#pulled.set(file, record);
        await store.write("pulled", file, recordText(record));
      }
      if (left > 0) return;
      await store.remove("pulling", name);
      this.#intended.delete(name);
    } catch (cause) {
      // The note of the beginning stays: others have to show credentials until a pull is written down.
      log.warn("cannot write down a pull", { image, cause: errorText(cause) });
    }
  }

  /** Forgets images that are gone. @param asOfMs when they were listed: what came later is not among them. */
  async keep(imageRefs: ReadonlySet<string>, asOfMs: number): Promise<void> {
    const files = new Set([...imageRefs].map(fileName));
    for (const [file, { lastUpdatedTime }] of this.#pulled) {
      if (files.has(file) || Date.parse(lastUpdatedTime) >= asOfMs) continue;
      this.#pulled.delete(file);
      await this.#ports.store.remove("pulled", file);
    }
  }
}

function fileName(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("hex")}`;
}
