import { kubernetesVersion } from "#api/version.ts";
import type { Command } from "./command.ts";
import { ownVersion } from "./versions.ts";

/** `keelson version [-o json]`. */
export const version: Command = {
  name: "version",
  summary: "print versions",
  help: () =>
    "usage: keelson version [-o json]\n\nPrints Keelson's version, the Kubernetes version it reports, and Node's.\n",
  async run(args, io) {
    const versions = { keelson: ownVersion, kubernetes: kubernetesVersion, node: process.version };
    const json = args.join(" ") === "-o json" || args.join(" ") === "--output json";
    io.out(
      json
        ? `${JSON.stringify(versions)}\n`
        : Object.entries(versions)
            .map(([name, text]) => `${name} ${text}\n`)
            .join(""),
    );
    return 0;
  },
};
