import { secrets } from "#api/resources.ts";
import type { ObjectReader } from "../last-known/object-reader.ts";
import { agentFilePlugins, type AgentFilesPorts } from "./plugins/agent-files.ts";
import { emptyDirPlugin } from "./plugins/empty-dir.ts";
import { FcPlugin } from "./plugins/fc.ts";
import { flexPlugins } from "./plugins/flex.ts";
import { gitRepoPlugin } from "./plugins/git-repo.ts";
import { hostPathPlugin } from "./plugins/host-path.ts";
import { imagePlugin } from "./plugins/image.ts";
import { IscsiPlugin } from "./plugins/iscsi.ts";
import { LocalPlugin } from "./plugins/local.ts";
import { nfsPlugin } from "./plugins/nfs.ts";
import type { VolumePlugin } from "./volume-plugin.ts";

/** What the plugins stand on. */
export interface BuiltinPorts extends AgentFilesPorts {
  /** undefined without an API: then no volume has a Secret. */
  readonly reader: ObjectReader | undefined;
  /** The agent's root directory. */
  readonly rootDir: string;
  /** Where FlexVolume drivers are. */
  readonly flexFolder: string;
}

/** Every kind of volume that needs no CSI driver. */
export async function builtinPlugins(ports: BuiltinPorts): Promise<readonly VolumePlugin[]> {
  const { rootDir, reader, flexFolder } = ports;
  const secret = async (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> => {
    if (reader === undefined) throw new Error("a secret needs an API server");
    const { data = {} } = await reader.get(secrets, { namespace, name }, signal);
    return new Map(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
    );
  };
  return [
    emptyDirPlugin,
    hostPathPlugin,
    new LocalPlugin(rootDir),
    nfsPlugin,
    new IscsiPlugin({ rootDir, secret, links: "/dev/disk/by-path" }),
    new FcPlugin({ rootDir, links: "/dev/disk", sys: "/sys" }),
    ...(await flexPlugins(flexFolder, secret)),
    gitRepoPlugin,
    imagePlugin,
    ...agentFilePlugins(ports),
  ];
}
