import type { ApiClient } from "#api/client.ts";
import type { CSINode, Node } from "#api/generated/kubernetes.ts";
import { csiNodes, nodes } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import type { CsiNodeInfo } from "./csi-driver.ts";
import type { DriverNotes } from "./csi-drivers.ts";
import {
  newCsiNode,
  nodePatch,
  nodePatchWithout,
  withDriver,
  withoutDriver,
} from "./plan/csi-node-object.ts";

const tries = 5;
const retry = { firstMs: 10, maxMs: 1_000, factor: 5 };

/** Keeps the node's CSINode, and what its Node says of drivers. Without an API there is nothing to keep. */
export class CsiNodeNotes implements DriverNotes {
  readonly #client: ApiClient | undefined;
  readonly #nodeName: string;
  readonly #clock: Clock;
  readonly #changed: (node: Node) => void;

  /** @param changed told of the Node with its new labels: volumes that are bound to them are usable from then on. */
  constructor(
    client: ApiClient | undefined,
    nodeName: string,
    clock: Clock,
    changed: (node: Node) => void = () => undefined,
  ) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#clock = clock;
    this.#changed = changed;
  }

  async install(driver: string, info: CsiNodeInfo, signal: AbortSignal): Promise<void> {
    await this.#write(async (client) => {
      const node = await client.get(nodes, this.#place, signal);
      const before = (await this.#read(client, signal)) ?? (await this.#create(client, node, signal));
      const patch = nodePatch(node, driver, info);
      if (patch !== undefined)
        this.#changed(await client.patch(nodes, this.#place, "merge", patch, {}, signal));
      const wanted = withDriver(before, driver, info);
      if (wanted !== undefined) await client.update(csiNodes, wanted, {}, signal);
    }, signal);
  }

  async uninstall(driver: string, signal: AbortSignal): Promise<void> {
    await this.#write(async (client) => {
      const before = await this.#read(client, signal);
      const wanted = before && withoutDriver(before, driver);
      if (wanted !== undefined) await client.update(csiNodes, wanted, {}, signal);
      const patch = nodePatchWithout(await client.get(nodes, this.#place, signal), driver);
      if (patch !== undefined) await client.patch(nodes, this.#place, "merge", patch, {}, signal);
    }, signal);
  }

  get #place(): { readonly namespace: string; readonly name: string } {
    return { namespace: "", name: this.#nodeName };
  }

  async #read(client: ApiClient, signal: AbortSignal): Promise<CSINode | undefined> {
    return await client.get(csiNodes, this.#place, signal).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    });
  }

  async #create(client: ApiClient, node: Node, signal: AbortSignal): Promise<CSINode> {
    return await client.create(csiNodes, newCsiNode(node), {}, signal);
  }

  /** Several drivers write the same objects at once: who comes second reads again. */
  async #write(step: (client: ApiClient) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.#client === undefined) return;
    for (let failures = 1; ; failures += 1) {
      try {
        await step(this.#client);
        return;
      } catch (cause) {
        signal.throwIfAborted();
        if (failures >= tries) throw new Error("error updating CSINode", { cause });
        await this.#clock.sleep(backoffMs(failures, retry), signal);
      }
    }
  }
}
