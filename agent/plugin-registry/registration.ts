import type { Method } from "../grpc/grpc-channel.ts";

/** The messages of `pluginregistration` v1, which every plugin of a node registers with. @see kubelet's api.proto */
export const registrationMessages: Readonly<Record<string, string>> = {
  InfoRequest: "",
  PluginInfo: "type:1:string name:2:string endpoint:3:string supportedVersions:4:[]string",
  RegistrationStatus: "pluginRegistered:1:bool error:2:string",
  RegistrationStatusResponse: "",
};

/** Asks a plugin who it is. */
export const getInfo: Method = {
  path: "/pluginregistration.Registration/GetInfo",
  request: "InfoRequest",
  response: "PluginInfo",
};

/** Tells a plugin whether it was taken. */
export const notifyRegistrationStatus: Method = {
  path: "/pluginregistration.Registration/NotifyRegistrationStatus",
  request: "RegistrationStatus",
  response: "RegistrationStatusResponse",
};

/** A plugin as it describes itself. */
export interface PluginInfo {
  /** `CSIPlugin`, `DevicePlugin`. */
  readonly type: string;
  readonly name: string;
  /** The socket of its service; that of its registration unless it names another. */
  readonly endpoint: string;
  readonly supportedVersions: readonly string[];
}
