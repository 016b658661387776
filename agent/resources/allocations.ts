import { errorText, type Log } from "#lib/log.ts";
import { readIfThere } from "#lib/read-if-there.ts";
import { writeFileAtomically } from "#lib/write-file.ts";
import { type Allocation, parseResources, type Resources } from "../plan/allocation.ts";

/** Pods kept at most; a node runs far fewer. */
const maxPods = 8_192;

/**
 * What resized Pods were granted, in one small file, by uid. A Pod that was never resized is not in it: its containers
 * tell what they were made with. Other than the kubelet's `allocated_pods_state`, whose checksum only Go can make.
 */
export class Allocations {
  readonly #file: string;
  readonly #all: Map<string, Allocation>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, all: Map<string, Allocation>) {
    this.#file = file;
    this.#all = all;
  }

  /** Reads the file; one that is missing or spoilt counts as empty, which the log tells. */
  static async open(file: string, log: Log): Promise<Allocations> {
    const text = await readIfThere(file);
    try {
      return new Allocations(file, text === undefined ? new Map() : parse(text));
    } catch (cause) {
      log.warn("cannot read what resized pods were granted; their containers tell what they began with", {
        file,
        cause: errorText(cause),
      });
      return new Allocations(file, new Map());
    }
  }

  of(podUid: string): Allocation | undefined {
    return this.#all.get(podUid);
  }

  /** Resolves when it is on the disk. @throws Error that names the file. */
  async set(podUid: string, allocation: Allocation): Promise<void> {
    this.#all.delete(podUid);
    this.#all.set(podUid, allocation);
    for (const uid of this.#all.keys()) {
      if (this.#all.size <= maxPods) break;
      this.#all.delete(uid);
    }
    await this.#write();
  }

  /** Forgets Pods that nobody knows any more. */
  async keepOnly(isKnown: (podUid: string) => boolean): Promise<void> {
    const strangers = [...this.#all.keys()].filter((uid) => !isKnown(uid));
    if (strangers.length === 0) return;
    for (const uid of strangers) this.#all.delete(uid);
    await this.#write();
  }

  /** One write after the other, each with what is known when it begins. */
  async #write(): Promise<void> {
    const before = this.#writing;
    const next = (async () => {
      await before.catch(() => undefined);
      await writeFileAtomically(this.#file, JSON.stringify(Object.fromEntries(this.#all)), 0o600);
    })();
    this.#writing = next;
    await next;
  }
}

function parse(text: string): Map<string, Allocation> {
  const all: unknown = JSON.parse(text);
  if (typeof all !== "object" || all === null) throw new Error("not a JSON object");
  return new Map(
    Object.entries(all)
      .slice(-maxPods)
      .map(([uid, value]: [string, unknown]) => [uid, parseAllocation(uid, value)]),
  );
}

function parseAllocation(uid: string, value: unknown): Allocation {
  const wrong = new Error(`"${uid}" has no usable resources`);
  if (typeof value !== "object" || value === null || !("containers" in value)) throw wrong;
  if (typeof value.containers !== "object" || value.containers === null) throw wrong;
  const containers = Object.entries(value.containers).map(
    ([name, one]: [string, unknown]): [string, Resources] => {
      const resources = parseResources(one);
      if (resources === undefined) throw wrong;
      return [name, resources];
    },
  );
  return {
    pod: "pod" in value ? parseResources(value.pod) : undefined,
    containers: Object.fromEntries(containers),
  };
}
