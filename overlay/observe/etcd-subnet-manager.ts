import type { EtcdClient } from "#api/etcd/etcd-client.ts";
import { EtcdError } from "#api/etcd/etcd-error.ts";
import { type KeyValue, prefixRange } from "#api/etcd/model.ts";
import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import { together } from "#lib/together.ts";
import { type LeaseAttributes, type NetworkConfig, OverlayError, type SubnetLease } from "../model.ts";
import { chooseSubnet, type RegisteredLease } from "../plan/choose-subnet.ts";
import { leaseKey, parseLease, renderLeaseValue, subnetsPrefix } from "../plan/lease-text.ts";
import { parseNetConf } from "../plan/parse-net-conf.ts";
import type { SubnetEvents, SubnetManager } from "./subnet-manager.ts";

export interface EtcdSubnetPorts {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

/** A lease lasts a day (flannel's own number), in seconds. */
const leaseSeconds = 86_400;
/** Times we draw another subnet when somebody else was faster. */
const acquireTries = 10;
const watchBackoff = { firstMs: 100, maxMs: 5_000 };

interface Claim {
  readonly lease: SubnetLease;
  /** The etcd lease it lives by; 0n for a reservation, which lasts. */
  readonly etcdLease: bigint;
}

/** Subnet leases in etcd, at flannel's keys and with its values. */
export class EtcdSubnetManager implements SubnetManager {
  readonly #prefix: string;
  readonly #renewMarginMs: number;
  readonly #ports: EtcdSubnetPorts;
  #config: NetworkConfig | undefined;
  #claim: Claim | undefined;

  constructor(prefix: string, renewMarginMinutes: number, ports: EtcdSubnetPorts) {
    this.#prefix = prefix.replace(/\/+$/, "");
    this.#renewMarginMs = renewMarginMinutes * 60_000;
    this.#ports = ports;
  }

  async networkConfig(signal: AbortSignal): Promise<NetworkConfig> {
    const key = `${this.#prefix}/config`;
    for (let failures = 1; ; failures += 1) {
      let entry: KeyValue | undefined;
      try {
        entry = (await this.#ports.client.range({ key }, signal)).entries[0];
        if (entry === undefined) this.#ports.log.warn("no network configuration in etcd yet", { key });
      } catch (cause) {
        signal.throwIfAborted();
        this.#ports.log.warn("cannot read the network configuration", { key, cause });
      }
      if (entry !== undefined) return parseNetConf(Buffer.from(entry.value).toString("utf8"));
      await this.#ports.clock.sleep(backoffMs(failures, { firstMs: 500, maxMs: 5_000 }), signal);
    }
  }

  async acquire(
    config: NetworkConfig,
    attributes: LeaseAttributes,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<SubnetLease> {
    this.#config = config;
    for (let tries = 1; tries <= acquireTries; tries += 1) {
      const { leases } = await this.#list(signal);
      const choice = chooseSubnet(config, leases, attributes.publicIp, previous, this.#ports.random());
      switch (choice.action) {
        case "none-left":
          throw new OverlayError(
            "out-of-subnets",
            `cannot get a subnet: all of ${config.network} from ${config.subnetMin} to ${config.subnetMax} are taken; widen the network`,
          );
        case "discard":
          for (const lease of choice.leases) await this.#discard(lease, signal);
          break;
        case "reuse": {
          const claim = await this.#reuse(choice.lease, attributes, signal);
          if (claim !== undefined) return this.#claimed(claim);
          break;
        }
        case "create": {
          const claim = await this.#create({ subnet: choice.subnet, attributes }, signal);
          if (claim !== undefined) return this.#claimed(claim);
          this.#ports.log.info("another node took the subnet first", { subnet: choice.subnet });
          break;
        }
        default:
          choice satisfies never;
      }
    }
    throw new OverlayError(
      "out-of-subnets",
      `cannot get a subnet: others were faster ${acquireTries} times; try again`,
    );
  }

  async run(told: SubnetEvents, signal: AbortSignal): Promise<void> {
    await together(
      signal,
      (signal) => this.#follow(told, signal),
      (signal) => this.#renew(told, signal),
    );
  }

  /** Lists, watches, and begins again when the watch ends. */
  async #follow(told: SubnetEvents, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const { leases, revision } = await this.#list(signal);
        const all = new Map<string, SubnetLease>(leases.map((lease) => [lease.subnet, lease]));
        told.leases([...all.values()]);
        if (!this.#isOursIn(all)) await this.#reclaim(told, signal);
        const range = prefixRange(subnetsPrefix(this.#prefix));
        const watch = this.#ports.client.watch({ ...range, startRevision: revision + 1n }, signal);
        for await (const message of watch) {
          failures = 0;
          if (message.type !== "events") continue;
          for (const event of message.events) {
            const lease = parseLease(event.entry.key, Buffer.from(event.entry.value).toString("utf8"));
            if (event.type === "put" && lease !== undefined) all.set(lease.subnet, lease);
            const gone =
              event.type === "delete"
                ? [...all.keys()].find((subnet) => leaseKey(this.#prefix, subnet) === event.entry.key)
                : undefined;
            if (gone !== undefined) all.delete(gone);
          }
          told.leases([...all.values()]);
          if (!this.#isOursIn(all)) await this.#reclaim(told, signal);
        }
      } catch (cause) {
        if (signal.aborted) return;
        failures += 1;
        this.#ports.log.warn("lost sight of the subnet leases", { cause, failures });
        await this.#ports.clock.sleep(backoffMs(failures, watchBackoff), signal).catch(() => undefined);
      }
    }
  }

  /** Long before the lease ends. A failure is tried again every minute; the kernel keeps working meanwhile. */
  async #renew(told: SubnetEvents, signal: AbortSignal): Promise<void> {
    let waitMs = leaseSeconds * 1_000 - this.#renewMarginMs;
    while (!signal.aborted) {
      await this.#ports.clock.sleep(waitMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      waitMs = leaseSeconds * 1_000 - this.#renewMarginMs;
      const claim = this.#claim;
      if (claim === undefined || claim.etcdLease === 0n) continue;
      try {
        await this.#ports.client.leaseKeepAlive(claim.etcdLease, signal);
      } catch (cause) {
        if (cause instanceof EtcdError && cause.code === "no-lease") {
          await this.#reclaim(told, signal).catch(() => undefined);
        }
        this.#ports.log.warn("cannot renew the subnet lease", { subnet: claim.lease.subnet, cause });
        waitMs = 60_000;
      }
    }
  }

  /** Our key went away: somebody deleted it, or its lease ended while we could not renew it. Pods keep their addresses. */
  async #reclaim(told: SubnetEvents, signal: AbortSignal): Promise<void> {
    const claim = this.#claim;
    if (claim === undefined || this.#config === undefined) return;
    this.#ports.log.warn("the subnet lease is gone: claiming it anew", { subnet: claim.lease.subnet });
    const { subnet, attributes } = claim.lease;
    const own = await this.acquire(this.#config, attributes, subnet, signal);
    if (own.subnet !== subnet) told.moved(own);
  }

  #isOursIn(all: ReadonlyMap<string, SubnetLease>): boolean {
    const own = this.#claim?.lease;
    return own === undefined || all.get(own.subnet)?.attributes.publicIp === own.attributes.publicIp;
  }

  #claimed(claim: Claim): SubnetLease {
    this.#claim = claim;
    return claim.lease;
  }

  async #create(lease: SubnetLease, signal: AbortSignal): Promise<Claim | undefined> {
    const { id } = await this.#ports.client.leaseGrant(leaseSeconds, signal);
    const key = leaseKey(this.#prefix, lease.subnet);
    const { succeeded } = await this.#ports.client.txn(
      {
        when: [{ key, target: "version", op: "=", value: 0n }],
        then: [{ type: "put", key, value: renderLeaseValue(lease.attributes), lease: id }],
      },
      signal,
    );
    if (succeeded) return { lease, etcdLease: id };
    await this.#ports.client.leaseRevoke(id, signal).catch(() => undefined);
    return undefined;
  }

  /** Takes over the lease registered for our address; a reservation stays one. Undefined when it changed meanwhile. */
  async #reuse(
    lease: RegisteredLease,
    attributes: LeaseAttributes,
    signal: AbortSignal,
  ): Promise<Claim | undefined> {
    const id = lease.isReservation ? 0n : (await this.#ports.client.leaseGrant(leaseSeconds, signal)).id;
    const key = leaseKey(this.#prefix, lease.subnet);
    const { succeeded } = await this.#ports.client.txn(
      {
        when: [{ key, target: "mod", op: "=", value: lease.modRevision }],
        then: [{ type: "put", key, value: renderLeaseValue(attributes), lease: id }],
      },
      signal,
    );
    if (succeeded) return { lease: { subnet: lease.subnet, attributes }, etcdLease: id };
    if (id !== 0n) await this.#ports.client.leaseRevoke(id, signal).catch(() => undefined);
    return undefined;
  }

  async #discard(lease: RegisteredLease, signal: AbortSignal): Promise<void> {
    const key = leaseKey(this.#prefix, lease.subnet);
    await this.#ports.client.txn(
      { when: [{ key, target: "mod", op: "=", value: lease.modRevision }], then: [{ type: "delete", key }] },
      signal,
    );
  }

  async #list(
    signal: AbortSignal,
  ): Promise<{ readonly leases: RegisteredLease[]; readonly revision: bigint }> {
    const { entries, revision } = await this.#ports.client.range(
      prefixRange(subnetsPrefix(this.#prefix)),
      signal,
    );
    const leases = entries.flatMap((entry) => {
      const lease = parseLease(entry.key, Buffer.from(entry.value).toString("utf8"));
      return lease === undefined
        ? []
        : [{ ...lease, modRevision: entry.modRevision, isReservation: entry.lease === 0n }];
    });
    return { leases, revision };
  }
}
