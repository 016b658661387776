import type { Node } from "#api/generated/kubernetes.ts";
import { nodes } from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";
import type { ObjectReader } from "../last-known/object-reader.ts";

const freshMs = 1_000;
/** The longest that one read of the Node takes. */
const readLimitMs = 10_000;

/** Whether a volume may be set up: the API has heard that this node uses it, and it is attached here. */
export type Attachment =
  | { readonly state: "waiting" }
  | { readonly state: "attached"; readonly devicePath: string };

/** What the Node object says of volumes: read while a Pod waits, at most once a second. */
export class Attachments {
  readonly #client: ObjectReader | undefined;
  readonly #nodeName: string;
  readonly #clock: Clock;
  #read: { readonly atMs: number; readonly node: Promise<Node> } | undefined;

  constructor(client: ObjectReader | undefined, nodeName: string, clock: Clock) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#clock = clock;
  }

  /** @throws the API's answer. */
  async of(name: string, signal: AbortSignal): Promise<Attachment> {
    const { status } = await underSignal(this.#node(), signal);
    // Used first, then mounted: else the control plane might take it away meanwhile.
    const isUsed = status?.volumesInUse?.includes(name) === true;
    const attached = status?.volumesAttached?.find((volume) => volume.name === name);
    return isUsed && attached !== undefined
      ? { state: "attached", devicePath: attached.devicePath }
      : { state: "waiting" };
  }

  #node(): Promise<Node> {
    if (this.#client === undefined) throw new Error("an attached volume needs an API server");
    const now = this.#clock.monotonicMs();
    if (this.#read !== undefined && now - this.#read.atMs < freshMs) return this.#read.node;
    // Shared by all who wait: a Pod that ends ends its own wait, not the read of the others.
    const node = this.#client.get(
      nodes,
      { namespace: "", name: this.#nodeName },
      AbortSignal.timeout(readLimitMs),
    );
    const read = { atMs: now, node };
    this.#read = read;
    node.catch(() => {
      if (this.#read === read) this.#read = undefined;
    });
    return node;
  }
}

/** Waits for something that others wait for too. @throws the signal's reason when it is aborted first. */
async function underSignal<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const stopped = Promise.withResolvers<never>();
  const stop = (): void => stopped.reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([shared, stopped.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
