/**
 * The part of CRI (runtime.v1) and of containerd's own API that is used here, as `name:number:type` per field;
 * `[]` before a type is repeated, `<k,v>` is a map. Names are the wire's in camel case.
 * `schema.test.ts` proves every number against the descriptors inside the containerd binary.
 */
export const criMessages: Readonly<Record<string, string>> = {
  Empty: "",
  VersionRequest: "version:1:string",
  VersionResponse: "version:1:string runtimeName:2:string runtimeVersion:3:string runtimeApiVersion:4:string",
  StatusRequest: "verbose:1:bool",
  StatusResponse:
    "status:1:RuntimeStatus info:2:<string,string> runtimeHandlers:3:[]RuntimeHandler features:4:RuntimeFeatures",
  RuntimeHandler: "name:1:string features:2:RuntimeHandlerFeatures",
  RuntimeHandlerFeatures: "recursiveReadOnlyMounts:1:bool userNamespaces:2:bool",
  RuntimeFeatures: "supplementalGroupsPolicy:1:bool",
  RuntimeStatus: "conditions:1:[]RuntimeCondition",
  RuntimeCondition: "type:1:string status:2:bool reason:3:string message:4:string",
  RuntimeConfigRequest: "",
  RuntimeConfigResponse: "linux:1:LinuxRuntimeConfiguration",
  LinuxRuntimeConfiguration: "cgroupDriver:1:int32",

  DNSConfig: "servers:1:[]string searches:2:[]string options:3:[]string",
  PortMapping: "protocol:1:int32 containerPort:2:int32 hostPort:3:int32 hostIp:4:string",
  NamespaceOption: "network:1:int32 pid:2:int32 ipc:3:int32 targetId:4:string usernsOptions:5:UserNamespace",
  UserNamespace: "mode:1:int32 uids:2:[]IDMapping gids:3:[]IDMapping",
  IDMapping: "hostId:1:uint32 containerId:2:uint32 length:3:uint32",
  Int64Value: "value:1:int64",
  UInt64Value: "value:1:uint64",
  SELinuxOption: "user:1:string role:2:string type:3:string level:4:string",
  SecurityProfile: "profileType:1:int32 localhostRef:2:string",
  LinuxSandboxSecurityContext:
    "namespaceOptions:1:NamespaceOption selinuxOptions:2:SELinuxOption runAsUser:3:Int64Value readonlyRootfs:4:bool supplementalGroups:5:[]int64 privileged:6:bool runAsGroup:8:Int64Value seccomp:9:SecurityProfile apparmor:10:SecurityProfile supplementalGroupsPolicy:11:int32",
  LinuxPodSandboxConfig:
    "cgroupParent:1:string securityContext:2:LinuxSandboxSecurityContext sysctls:3:<string,string>",
  PodSandboxMetadata: "name:1:string uid:2:string namespace:3:string attempt:4:uint32",
  PodSandboxConfig:
    "metadata:1:PodSandboxMetadata hostname:2:string logDirectory:3:string dnsConfig:4:DNSConfig portMappings:5:[]PortMapping labels:6:<string,string> annotations:7:<string,string> linux:8:LinuxPodSandboxConfig",
  RunPodSandboxRequest: "config:1:PodSandboxConfig runtimeHandler:2:string",
  RunPodSandboxResponse: "podSandboxId:1:string",
  StopPodSandboxRequest: "podSandboxId:1:string",
  RemovePodSandboxRequest: "podSandboxId:1:string",
  PodSandboxStatusRequest: "podSandboxId:1:string verbose:2:bool",
  PodSandboxStatusResponse: "status:1:PodSandboxStatus",
  PodSandboxStatus:
    "id:1:string metadata:2:PodSandboxMetadata state:3:int32 createdAt:4:int64 network:5:PodSandboxNetworkStatus linux:6:LinuxPodSandboxStatus labels:7:<string,string> annotations:8:<string,string> runtimeHandler:9:string",
  PodSandboxNetworkStatus: "ip:1:string additionalIps:2:[]PodIP",
  PodIP: "ip:1:string",
  LinuxPodSandboxStatus: "namespaces:1:Namespace",
  Namespace: "options:2:NamespaceOption",
  ListPodSandboxRequest: "filter:1:PodSandboxFilter",
  PodSandboxFilter: "id:1:string labelSelector:3:<string,string>",
  ListPodSandboxResponse: "items:1:[]PodSandbox",
  PodSandbox:
    "id:1:string metadata:2:PodSandboxMetadata state:3:int32 createdAt:4:int64 labels:5:<string,string> annotations:6:<string,string> runtimeHandler:7:string",

  ImageSpec: "image:1:string annotations:2:<string,string> runtimeHandler:19:string",
  KeyValue: "key:1:string value:2:string",
  HugepageLimit: "pageSize:1:string limit:2:uint64",
  LinuxContainerResources:
    "cpuPeriod:1:int64 cpuQuota:2:int64 cpuShares:3:int64 memoryLimitInBytes:4:int64 oomScoreAdj:5:int64 cpusetCpus:6:string cpusetMems:7:string hugepageLimits:8:[]HugepageLimit unified:9:<string,string>",
  Capability: "addCapabilities:1:[]string dropCapabilities:2:[]string",
  LinuxContainerSecurityContext:
    "capabilities:1:Capability privileged:2:bool namespaceOptions:3:NamespaceOption selinuxOptions:4:SELinuxOption runAsUser:5:Int64Value runAsUsername:6:string readonlyRootfs:7:bool supplementalGroups:8:[]int64 noNewPrivs:11:bool runAsGroup:12:Int64Value maskedPaths:13:[]string readonlyPaths:14:[]string seccomp:15:SecurityProfile apparmor:16:SecurityProfile supplementalGroupsPolicy:17:int32",
  LinuxContainerConfig: "resources:1:LinuxContainerResources securityContext:2:LinuxContainerSecurityContext",
  ContainerMetadata: "name:1:string attempt:2:uint32",
  Device: "containerPath:1:string hostPath:2:string permissions:3:string",
  Mount:
    "containerPath:1:string hostPath:2:string readonly:3:bool selinuxRelabel:4:bool propagation:5:int32 uidMappings:6:[]IDMapping gidMappings:7:[]IDMapping recursiveReadOnly:8:bool image:9:ImageSpec imageSubPath:10:string",
  ContainerConfig:
    "metadata:1:ContainerMetadata image:2:ImageSpec command:3:[]string args:4:[]string workingDir:5:string envs:6:[]KeyValue mounts:7:[]Mount devices:8:[]Device labels:9:<string,string> annotations:10:<string,string> logPath:11:string stdin:12:bool stdinOnce:13:bool tty:14:bool linux:15:LinuxContainerConfig stopSignal:18:int32",
  CreateContainerRequest: "podSandboxId:1:string config:2:ContainerConfig sandboxConfig:3:PodSandboxConfig",
  CreateContainerResponse: "containerId:1:string",
  StartContainerRequest: "containerId:1:string",
  StopContainerRequest: "containerId:1:string timeout:2:int64",
  RemoveContainerRequest: "containerId:1:string",
  ListContainersRequest: "filter:1:ContainerFilter",
  ContainerFilter: "id:1:string podSandboxId:3:string labelSelector:4:<string,string>",
  ListContainersResponse: "containers:1:[]Container",
  Container:
    "id:1:string podSandboxId:2:string metadata:3:ContainerMetadata image:4:ImageSpec imageRef:5:string state:6:int32 createdAt:7:int64 labels:8:<string,string> annotations:9:<string,string>",
  ContainerStatusRequest: "containerId:1:string verbose:2:bool",
  ContainerStatusResponse: "status:1:ContainerStatus info:2:<string,string>",
  ContainerStatus:
    "id:1:string metadata:2:ContainerMetadata state:3:int32 createdAt:4:int64 startedAt:5:int64 finishedAt:6:int64 exitCode:7:int32 image:8:ImageSpec imageRef:9:string reason:10:string message:11:string labels:12:<string,string> annotations:13:<string,string> mounts:14:[]Mount logPath:15:string user:18:ContainerUser stopSignal:19:int32",
  ContainerUser: "linux:1:LinuxContainerUser",
  LinuxContainerUser: "uid:1:int64 gid:2:int64 supplementalGroups:3:[]int64",
  ContainerStatsRequest: "containerId:1:string",
  ContainerStatsResponse: "stats:1:ContainerStats",
  ContainerStats: "writableLayer:4:FilesystemUsage",
  UpdateContainerResourcesRequest: "containerId:1:string linux:2:LinuxContainerResources",
  ReopenContainerLogRequest: "containerId:1:string",
  ExecSyncRequest: "containerId:1:string cmd:2:[]string timeout:3:int64",
  ExecSyncResponse: "stdout:1:bytes stderr:2:bytes exitCode:3:int32",
  ExecRequest: "containerId:1:string cmd:2:[]string tty:3:bool stdin:4:bool stdout:5:bool stderr:6:bool",
  ExecResponse: "url:1:string",
  AttachRequest: "containerId:1:string stdin:2:bool tty:3:bool stdout:4:bool stderr:5:bool",
  AttachResponse: "url:1:string",
  PortForwardRequest: "podSandboxId:1:string port:2:[]int32",
  PortForwardResponse: "url:1:string",
  GetEventsRequest: "",
  ContainerEventResponse: "containerId:1:string containerEventType:2:int32",

  ListImagesRequest: "",
  ListImagesResponse: "images:1:[]Image",
  Image:
    "id:1:string repoTags:2:[]string repoDigests:3:[]string size:4:uint64 uid:5:Int64Value username:6:string pinned:8:bool",
  ImageStatusRequest: "image:1:ImageSpec verbose:2:bool",
  ImageStatusResponse: "image:1:Image",
  AuthConfig:
    "username:1:string password:2:string auth:3:string serverAddress:4:string identityToken:5:string registryToken:6:string",
  PullImageRequest: "image:1:ImageSpec auth:2:AuthConfig",
  PullImageResponse: "imageRef:1:string",
  RemoveImageRequest: "image:1:ImageSpec",
  ImageFsInfoRequest: "",
  ImageFsInfoResponse: "imageFilesystems:1:[]FilesystemUsage",
  FilesystemUsage: "timestamp:1:int64 fsId:2:FilesystemIdentifier usedBytes:3:UInt64Value",
  FilesystemIdentifier: "mountpoint:1:string",
};

/** containerd's own services, on the same socket; a name with dots is the full one. */
export const containerdMessages: Readonly<Record<string, string>> = {
  "containerd.services.events.v1.SubscribeRequest": "filters:1:[]string",
  "containerd.services.events.v1.Envelope": "namespace:2:string topic:3:string event:4:Any",
  // google.protobuf.Any
  Any: "typeUrl:1:string value:2:bytes",
  // The first field of every containerd.events.Task* and Container* message is the container's id.
  "containerd.events.TaskExit": "containerId:1:string id:2:string",
  "containerd.services.tasks.v1.KillRequest":
    "containerId:1:string execId:2:string signal:3:uint32 all:4:bool",
  "containerd.services.tasks.v1.WaitRequest": "containerId:1:string execId:2:string",
  "containerd.services.leases.v1.CreateRequest": "id:1:string labels:3:<string,string>",
  "containerd.services.leases.v1.DeleteRequest": "id:1:string",
  "containerd.types.Descriptor": "mediaType:1:string digest:2:string size:3:int64",
  "containerd.services.images.v1.Image":
    "name:1:string labels:2:<string,string> target:3:containerd.types.Descriptor",
  "containerd.services.images.v1.CreateImageRequest": "image:1:containerd.services.images.v1.Image",
  "containerd.services.images.v1.GetImageRequest": "name:1:string",
  "containerd.services.images.v1.GetImageResponse": "image:1:containerd.services.images.v1.Image",
  "containerd.services.content.v1.ListStatusesRequest": "filters:1:[]string",
  "containerd.services.content.v1.Status": "ref:3:string offset:4:int64 total:5:int64",
  "containerd.services.content.v1.ListStatusesResponse": "statuses:1:[]containerd.services.content.v1.Status",
  "containerd.services.content.v1.WriteContentRequest":
    "action:1:int32 ref:2:string total:3:int64 expected:4:string offset:5:int64 data:6:bytes labels:7:<string,string>",
  "containerd.services.content.v1.WriteContentResponse": "action:1:int32 offset:4:int64 digest:6:string",
};

/** Fields that CRI got after the oldest containerd we meet, so that its descriptor cannot prove them. */
export const newerThanContainerd16: readonly string[] = [
  "Mount.recursiveReadOnly",
  "Mount.image",
  "Mount.imageSubPath",
  "Mount.uidMappings",
  "Mount.gidMappings",
  "StatusResponse.runtimeHandlers",
  "StatusResponse.features",
  "RuntimeHandler.name",
  "RuntimeHandler.features",
  "RuntimeHandlerFeatures.recursiveReadOnlyMounts",
  "RuntimeHandlerFeatures.userNamespaces",
  "RuntimeFeatures.supplementalGroupsPolicy",
  "LinuxSandboxSecurityContext.supplementalGroupsPolicy",
  "LinuxContainerSecurityContext.supplementalGroupsPolicy",
  "ImageSpec.runtimeHandler",
  "ContainerConfig.stopSignal",
  "ContainerStatus.user",
  "ContainerUser.linux",
  "LinuxContainerUser.uid",
  "LinuxContainerUser.gid",
  "LinuxContainerUser.supplementalGroups",
  "ContainerStatus.stopSignal",
  "RuntimeConfigResponse.linux",
  "LinuxRuntimeConfiguration.cgroupDriver",
];
