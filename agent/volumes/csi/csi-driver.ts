import { GrpcChannel } from "../../grpc/grpc-channel.ts";
import { GrpcStatusError, toGrpcStatusError } from "../../grpc/grpc-status.ts";
import { messageCodec } from "../../grpc/message-codec.ts";
import {
  csiMessages,
  type NodeCapability,
  nodeMethod,
  type PublishRequest,
  type StageRequest,
  type VolumeCapability,
} from "./csi-messages.ts";

/** Who a driver says this node is. */
export interface CsiNodeInfo {
  readonly nodeId: string;
  /** Most volumes of the driver on this node; 0 for: it does not say. */
  readonly maxVolumes: number;
  /** Labels that say where the node is for the driver. */
  readonly topology: Readonly<Record<string, string>>;
}

/** What a driver counts of a volume, in bytes or in inodes. */
export interface CsiUsage {
  readonly available: number;
  readonly total: number;
  readonly used: number;
  readonly unit: "bytes" | "inodes";
}

/** `NodeGetVolumeStats`. */
export interface CsiStats {
  readonly usage: readonly CsiUsage[];
  /** undefined when the driver does not tell. */
  readonly condition: { readonly abnormal: boolean; readonly message: string } | undefined;
}

/** The kubelet's limit for each call. */
const callTimeoutMs = 120_000;
/** Most that is believed to be one answer's list; a driver has a handful of capabilities and two usages. */
const listLimit = 64;

interface InfoAnswer {
  readonly nodeId: string;
  readonly maxVolumesPerNode: number;
  readonly accessibleTopology: { readonly segments: Readonly<Record<string, string>> } | null;
}

interface CapabilitiesAnswer {
  readonly capabilities: readonly { readonly rpc: { readonly type: number } | null }[];
}

interface StatsAnswer {
  readonly usage: readonly {
    readonly available: number;
    readonly total: number;
    readonly used: number;
    readonly unit: number;
  }[];
  readonly volumeCondition: { readonly abnormal: boolean; readonly message: string } | null;
}

/** The node side of a CSI driver. Every failure is a {@link GrpcStatusError}; an answer that makes no sense too. */
export class CsiDriver {
  readonly name: string;
  readonly endpoint: string;
  readonly version: string;
  readonly #channel: GrpcChannel;
  readonly #timeoutMs: number;

  /** @param version the highest that both sides speak: `1.0.0`. @param timeoutMs the limit for each call. */
  constructor(name: string, endpoint: string, version: string, timeoutMs: number = callTimeoutMs) {
    this.#timeoutMs = timeoutMs;
    this.name = name;
    this.endpoint = endpoint;
    this.version = version;
    this.#channel = new GrpcChannel(endpoint, messageCodec(csiMessages), toGrpcStatusError);
  }

  async info(signal: AbortSignal): Promise<CsiNodeInfo> {
    const answer = await this.#call<InfoAnswer>("NodeGetInfo", {}, signal);
    if (answer.nodeId === "") throw nonsense("NodeGetInfo", "node_id is empty");
    if (answer.maxVolumesPerNode < 0)
      throw nonsense("NodeGetInfo", `max_volumes_per_node is ${answer.maxVolumesPerNode}`);
    return {
      nodeId: answer.nodeId,
      maxVolumes: answer.maxVolumesPerNode,
      topology: answer.accessibleTopology?.segments ?? {},
    };
  }

  /** What the driver can do; unknown ones are left out by nobody: they are only numbers. */
  async capabilities(signal: AbortSignal): Promise<ReadonlySet<number>> {
    const { capabilities } = await this.#call<CapabilitiesAnswer>("NodeGetCapabilities", {}, signal);
    if (capabilities.length > listLimit)
      throw nonsense("NodeGetCapabilities", `it lists ${capabilities.length} capabilities`);
    return new Set(capabilities.flatMap(({ rpc }) => rpc?.type ?? []));
  }

  async can(capability: NodeCapability, signal: AbortSignal): Promise<boolean> {
    return (await this.capabilities(signal)).has(capability);
  }

  async stage(request: StageRequest, signal: AbortSignal): Promise<void> {
    await this.#change("NodeStageVolume", request, signal);
  }

  async unstage(volumeId: string, stagingTargetPath: string, signal: AbortSignal): Promise<void> {
    await this.#change("NodeUnstageVolume", { volumeId, stagingTargetPath }, signal);
  }

  async publish(request: PublishRequest, signal: AbortSignal): Promise<void> {
    await this.#change("NodePublishVolume", request, signal);
  }

  async unpublish(volumeId: string, targetPath: string, signal: AbortSignal): Promise<void> {
    await this.#change("NodeUnpublishVolume", { volumeId, targetPath }, signal);
  }

  /** @param volumePath where it is published. @param stagingTargetPath "" when it is not staged. */
  async stats(
    volumeId: string,
    volumePath: string,
    stagingTargetPath: string,
    signal: AbortSignal,
  ): Promise<CsiStats> {
    const request = { volumeId, volumePath, stagingTargetPath };
    const answer = await this.#call<StatsAnswer>("NodeGetVolumeStats", request, signal);
    if (answer.usage.length > listLimit)
      throw nonsense("NodeGetVolumeStats", `it lists ${answer.usage.length} usages`);
    return {
      usage: answer.usage.flatMap(({ available, total, used, unit }) =>
        unit === 1 || unit === 2
          ? [{ available, total, used, unit: unit === 1 ? ("bytes" as const) : ("inodes" as const) }]
          : [],
      ),
      condition: answer.volumeCondition ?? undefined,
    };
  }

  /** @returns the volume's size afterwards in bytes; 0 when the driver does not say. */
  async expand(
    request: {
      readonly volumeId: string;
      readonly volumePath: string;
      readonly stagingTargetPath: string;
      readonly capacityRange: { readonly requiredBytes: number };
      readonly volumeCapability: VolumeCapability;
      readonly secrets: Readonly<Record<string, string>>;
    },
    signal: AbortSignal,
  ): Promise<number> {
    const answer = await this.#change<{ readonly capacityBytes: number }>(
      "NodeExpandVolume",
      request,
      signal,
    );
    if (answer.capacityBytes < 0) throw nonsense("NodeExpandVolume", `capacity is ${answer.capacityBytes}`);
    return answer.capacityBytes;
  }

  close(): void {
    this.#channel.close();
  }

  /**
   * A call that changes something is not cut off: the driver would go on with it, and the next call for the volume
   * would meet it. The CSI spec wants one call at a time for each volume.
   */
  async #change<R>(name: string, request: object, signal: AbortSignal): Promise<R> {
    signal.throwIfAborted();
    const answer = await this.#call<R>(name, request, new AbortController().signal);
    signal.throwIfAborted();
    return answer;
  }

  #call<R>(name: string, request: object, signal: AbortSignal): Promise<R> {
    return this.#channel.call<R>(nodeMethod(name), request, this.#timeoutMs, signal);
  }
}

/** Whether the driver has ended its work on a failed call; of the others nobody knows what they did. */
export function isFinal(cause: unknown): boolean {
  return (
    cause instanceof GrpcStatusError &&
    !["Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted"].includes(cause.code)
  );
}

/** Whether the driver says that it can never do what it was asked. @see CSI spec, "NodeExpandVolume Errors" */
export function isInfeasible(cause: unknown): boolean {
  return (
    cause instanceof GrpcStatusError && ["InvalidArgument", "OutOfRange", "NotFound"].includes(cause.code)
  );
}

function nonsense(call: string, why: string): GrpcStatusError {
  return new GrpcStatusError("Internal", `the driver's answer to ${call} makes no sense: ${why}`);
}
