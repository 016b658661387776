import { readFile } from "node:fs/promises";
import type { ApiClient } from "#api/client.ts";
import type { Node } from "#api/generated/kubernetes.ts";
import { nodes } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import { contains, parseCidr } from "#lib/ip.ts";
import type { Log } from "#lib/log.ts";
import { type LeaseAttributes, type NetworkConfig, OverlayError, type SubnetLease } from "../model.ts";
import { leaseOfNode, nodePatch } from "../plan/node-annotations.ts";
import { parseNetConf } from "../plan/parse-net-conf.ts";
import type { SubnetEvents, SubnetManager } from "./subnet-manager.ts";

export interface KubeSubnetOptions {
  readonly nodeName: string;
  readonly annotationPrefix: string;
  readonly netConfigPath: string;
  readonly setNetworkUnavailable: boolean;
}

export interface KubeSubnetPorts {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

/** Subnets from the Nodes of the Kubernetes API: `spec.podCIDR` and flannel's annotations. */
export class KubeSubnetManager implements SubnetManager {
  readonly #options: KubeSubnetOptions;
  readonly #ports: KubeSubnetPorts;

  constructor(options: KubeSubnetOptions, ports: KubeSubnetPorts) {
    if (options.nodeName === "") {
      throw new OverlayError(
        "bad-config",
        "cannot use the Kubernetes API: this node's name is missing; give --node-name",
      );
    }
    this.#options = options;
    this.#ports = ports;
  }

  async networkConfig(_signal: AbortSignal): Promise<NetworkConfig> {
    const file = this.#options.netConfigPath;
    try {
      return parseNetConf(await readFile(file, "utf8"));
    } catch (cause) {
      if (cause instanceof OverlayError) throw cause;
      throw new OverlayError("bad-config", `cannot read "${file}"; give --net-config-path`, { cause });
    }
  }

  async acquire(
    config: NetworkConfig,
    attributes: LeaseAttributes,
    _previous: string | undefined,
    signal: AbortSignal,
  ): Promise<SubnetLease> {
    const { client, clock, log } = this.#ports;
    const { nodeName } = this.#options;
    for (;;) {
      const node: Node = await client.get(nodes, { namespace: "", name: nodeName }, signal);
      const subnet = [node.spec?.podCIDR ?? "", ...(node.spec?.podCIDRs ?? [])].find(
        (cidr) => cidr !== "" && !cidr.includes(":"),
      );
      if (subnet !== undefined) {
        if (!contains(parseCidr(config.network), parseCidr(subnet))) {
          throw new OverlayError(
            "no-subnet",
            `cannot use subnet "${subnet}" of node "${nodeName}": it is not in the network ${config.network}`,
          );
        }
        await this.#publish(node, attributes, signal);
        return { subnet, attributes };
      }
      log.warn("pod cidr not assigned yet", { node: nodeName });
      await clock.sleep(1_000, signal);
    }
  }

  async run(told: SubnetEvents, signal: AbortSignal): Promise<void> {
    const cache = new WatchCache<Node>(nodes, {}, this.#ports);
    const tell = (): void => {
      if (cache.view.state !== "complete") return;
      const leases = [...cache.values()].map((node) => leaseOfNode(node, this.#options.annotationPrefix));
      told.leases(leases.filter((lease) => lease !== undefined));
    };
    const watching = cache.run(signal);
    const first = cache.synced(signal).then(tell, () => undefined);
    cache.subscribe(tell);
    await Promise.all([watching, first]);
  }

  async #publish(node: Node, attributes: LeaseAttributes, signal: AbortSignal): Promise<void> {
    const { nodeName, annotationPrefix, setNetworkUnavailable } = this.#options;
    const key = { namespace: "", name: nodeName };
    const nowIso = new Date(this.#ports.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
    const patch = nodePatch(node, attributes, annotationPrefix, setNetworkUnavailable ? nowIso : undefined);
    if (patch.metadata !== undefined)
      await this.#ports.client.patch(nodes, key, "strategic", { metadata: patch.metadata }, {}, signal);
    if (patch.status !== undefined) {
      await this.#ports.client.patch(
        nodes,
        key,
        "strategic",
        { status: patch.status },
        { subresource: "status" },
        signal,
      );
    }
  }
}
