import { agentFilePlugins, type AgentFilesPorts } from "./plugins/agent-files.ts";
import { emptyDirPlugin } from "./plugins/empty-dir.ts";
import { hostPathPlugin } from "./plugins/host-path.ts";
import { imagePlugin } from "./plugins/image.ts";
import { LocalPlugin } from "./plugins/local.ts";
import { nfsPlugin } from "./plugins/nfs.ts";
import type { VolumePlugin } from "./volume-plugin.ts";

/** What the plugins stand on. */
export interface BuiltinPorts extends AgentFilesPorts {
  /** The agent's root directory. */
  readonly rootDir: string;
}

/** Every kind of volume that needs no driver of others. */
export function builtinPlugins(ports: BuiltinPorts): readonly VolumePlugin[] {
  const { rootDir } = ports;
  return [
    emptyDirPlugin,
    hostPathPlugin,
    new LocalPlugin(rootDir),
    nfsPlugin,
    imagePlugin,
    ...agentFilePlugins(ports),
  ];
}
