import type { LeaseAttributes, NetworkConfig, SubnetLease } from "../model.ts";

/** Where subnets are handed out: etcd, or the Kubernetes API. */
export interface SubnetManager {
  /** The network's configuration; waits until there is one. @throws {OverlayError} `bad-config` when it is wrong. */
  networkConfig(signal: AbortSignal): Promise<NetworkConfig>;
  /**
   * Claims a subnet for this node: the one it had, if that is possible.
   * @throws {OverlayError} `out-of-subnets`, `no-subnet`
   */
  acquire(
    config: NetworkConfig,
    attributes: LeaseAttributes,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<SubnetLease>;
  /** Keeps the claim, claims anew when it was taken away, and tells of every node's lease, until the signal. */
  run(told: SubnetEvents, signal: AbortSignal): Promise<void>;
}

export interface SubnetEvents {
  /** Every lease there is, ours among them; called at the first list and at every change. */
  leases(all: readonly SubnetLease[]): void;
  /** Our claim is another one now. */
  moved(own: SubnetLease): void;
}
