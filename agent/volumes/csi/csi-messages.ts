import type { Method } from "../../grpc/grpc-channel.ts";

/** The part of csi.v1's Node service that a node uses. @see container-storage-interface/spec csi.proto 1.12 */
export const csiMessages: Readonly<Record<string, string>> = {
  NodeGetInfoRequest: "",
  NodeGetInfoResponse: "nodeId:1:string maxVolumesPerNode:2:int64 accessibleTopology:3:Topology",
  Topology: "segments:1:<string,string>",
  NodeGetCapabilitiesRequest: "",
  NodeGetCapabilitiesResponse: "capabilities:1:[]NodeServiceCapability",
  NodeServiceCapability: "rpc:1:RpcCapability",
  RpcCapability: "type:1:int32",
  VolumeCapability: "block:1:BlockVolume mount:2:MountVolume accessMode:3:AccessMode",
  BlockVolume: "",
  MountVolume: "fsType:1:string mountFlags:2:[]string volumeMountGroup:3:string",
  AccessMode: "mode:1:int32",
  NodeStageVolumeRequest:
    "volumeId:1:string publishContext:2:<string,string> stagingTargetPath:3:string volumeCapability:4:VolumeCapability secrets:5:<string,string> volumeContext:6:<string,string>",
  NodeStageVolumeResponse: "",
  NodeUnstageVolumeRequest: "volumeId:1:string stagingTargetPath:2:string",
  NodeUnstageVolumeResponse: "",
  NodePublishVolumeRequest:
    "volumeId:1:string publishContext:2:<string,string> stagingTargetPath:3:string targetPath:4:string volumeCapability:5:VolumeCapability readonly:6:bool secrets:7:<string,string> volumeContext:8:<string,string>",
  NodePublishVolumeResponse: "",
  NodeUnpublishVolumeRequest: "volumeId:1:string targetPath:2:string",
  NodeUnpublishVolumeResponse: "",
  NodeGetVolumeStatsRequest: "volumeId:1:string volumePath:2:string stagingTargetPath:3:string",
  NodeGetVolumeStatsResponse: "usage:1:[]VolumeUsage volumeCondition:2:VolumeCondition",
  VolumeUsage: "available:1:int64 total:2:int64 used:3:int64 unit:4:int32",
  VolumeCondition: "abnormal:1:bool message:2:string",
  NodeExpandVolumeRequest:
    "volumeId:1:string volumePath:2:string capacityRange:3:CapacityRange stagingTargetPath:4:string volumeCapability:5:VolumeCapability secrets:6:<string,string>",
  NodeExpandVolumeResponse: "capacityBytes:1:int64",
  CapacityRange: "requiredBytes:1:int64 limitBytes:2:int64",
};

/** A call of the Node service, `NodeStageVolume`. */
export function nodeMethod(name: string): Method {
  return { path: `/csi.v1.Node/${name}`, request: `${name}Request`, response: `${name}Response` };
}

/** What a driver can do on a node (`NodeServiceCapability.RPC.Type`). */
export const nodeCapability = {
  stageUnstage: 1,
  volumeStats: 2,
  expand: 3,
  volumeCondition: 4,
  singleNodeMultiWriter: 5,
  volumeMountGroup: 6,
} as const;

/** One of {@link nodeCapability}. */
export type NodeCapability = (typeof nodeCapability)[keyof typeof nodeCapability];

/** How a volume is accessed (`VolumeCapability.AccessMode.Mode`). */
export const accessMode = {
  unknown: 0,
  singleNodeWriter: 1,
  multiNodeReaderOnly: 3,
  multiNodeMultiWriter: 5,
  singleNodeSingleWriter: 6,
  singleNodeMultiWriter: 7,
} as const;

/** `VolumeCapability`: as a device, or as files. */
export interface VolumeCapability {
  readonly block?: object;
  readonly mount?: {
    readonly fsType: string;
    readonly mountFlags: readonly string[];
    readonly volumeMountGroup: string;
  };
  readonly accessMode: { readonly mode: number };
}

/** `NodeStageVolumeRequest`. */
export interface StageRequest {
  readonly volumeId: string;
  readonly publishContext: Readonly<Record<string, string>>;
  readonly stagingTargetPath: string;
  readonly volumeCapability: VolumeCapability;
  readonly secrets: Readonly<Record<string, string>>;
  readonly volumeContext: Readonly<Record<string, string>>;
}

/** `NodePublishVolumeRequest`. */
export interface PublishRequest extends StageRequest {
  readonly targetPath: string;
  readonly readonly: boolean;
}
