import { agentFilePlugins, type AgentFilesPorts } from "./plugins/agent-files.ts";
import { emptyDirPlugin } from "./plugins/empty-dir.ts";
import { hostPathPlugin } from "./plugins/host-path.ts";
import { imagePlugin } from "./plugins/image.ts";
import type { VolumePlugin } from "./volume-plugin.ts";

/** Every kind of volume that needs no driver of others. */
export function builtinPlugins(ports: AgentFilesPorts): readonly VolumePlugin[] {
  return [emptyDirPlugin, hostPathPlugin, imagePlugin, ...agentFilePlugins(ports)];
}
