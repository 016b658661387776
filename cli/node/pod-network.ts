import { readFile } from "node:fs/promises";
import path from "node:path";
import type { ApiClient } from "#api/client.ts";
import { nodes } from "#api/resources.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** The file a runtime takes its Pod network from, when no other conflist stands before it. */
export const conflistName = "10-keelson.conflist";

/** The Pod network of a node that has a range of its own and needs no overlay. Pure. */
export function renderConflist(podCidr: string, clusterCidr: string): string {
  return `${JSON.stringify(
    {
      cniVersion: "0.4.0",
      name: "keelson",
      plugins: [
        {
          type: "keelson",
          bridge: "cni0",
          hairpinMode: true,
          ipMasq: true,
          nonMasqueradeCidrs: [clusterCidr],
          capabilities: { portMappings: true },
          ipam: { ranges: [[{ subnet: podCidr }]], routes: [{ dst: "0.0.0.0/0" }] },
        },
      ],
    },
    undefined,
    2,
  )}\n`;
}

/** What the Pod network needs to know. */
export interface PodNetworkOptions {
  readonly nodeName: string;
  readonly confDir: string;
  readonly clusterCidr: string;
}

/**
 * Writes the conflist as soon as the API has given this node its range, and again when that changes. Until then
 * the runtime says its network is not ready, and so does the node.
 */
export async function keepConflist(
  options: PodNetworkOptions,
  ports: {
    readonly client: ApiClient;
    readonly clock: Clock;
    readonly log: Log;
    readonly random: () => number;
  },
  signal: AbortSignal,
): Promise<void> {
  const cache = new WatchCache(nodes, { fieldSelector: `metadata.name=${options.nodeName}` }, ports);
  const file = path.join(options.confDir, conflistName);
  let writing = Promise.resolve();
  cache.subscribe((_key, node) => {
    const podCidr = node?.spec?.podCIDR;
    if (podCidr === undefined) return;
    writing = writing
      .then(() => writeWhenDifferent(file, renderConflist(podCidr, options.clusterCidr), ports.log))
      .catch((cause: unknown) =>
        ports.log.error("cannot write the pod network's configuration", { file, cause }),
      );
  });
  await cache.run(signal);
  await writing;
}

async function writeWhenDifferent(file: string, text: string, log: Log): Promise<void> {
  const before = await readFile(file, "utf8").catch(() => "");
  if (before === text) return;
  await makeFolder(path.dirname(file), 0o755);
  await writeFileAtomically(file, text, 0o644);
  log.info("wrote the pod network's configuration", { file });
}
