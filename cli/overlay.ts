import { systemIptables } from "#linux/iptables.ts";
import { systemClock } from "#lib/clock.ts";
import { type Flags, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { flags as overlayFlags, type OverlayConfig } from "../overlay/config.ts";
import { runOverlay } from "../overlay/main.ts";
import { clientFor } from "./client.ts";
import type { Command } from "./command.ts";

interface OverlayCommandConfig extends OverlayConfig {
  readonly kubeconfig: string;
}

const flags: Flags<OverlayCommandConfig> = {
  kubeconfig: {
    flag: "kubeconfig-file",
    parse: text,
    default: "",
    help: "how to reach the API, with --kube-subnet-mgr",
  },
  ...overlayFlags,
};

/** `keelson overlay`: in place of flanneld, with its flags and its `FLANNELD_*` variables. */
export const overlay: Command = {
  name: "overlay",
  summary: "run only the overlay, in place of flanneld",
  help: () =>
    `usage: keelson overlay [--flag value ...]\n\nEvery flag may be given as a variable too: FLANNELD_ETCD_PREFIX for --etcd-prefix.\n\n${renderFlags(flags)}\n`,
  async run(args, io, signal) {
    const config = parseFlags("keelson overlay", flags, args, { prefix: "FLANNELD_", variables: io.env });
    const client = config.kubeSubnetMgr ? clientFor(config.kubeconfig, "overlay") : undefined;
    try {
      await runOverlay(
        config,
        {
          log: jsonLog("overlay"),
          clock: systemClock,
          random: Math.random,
          iptables: systemIptables({ family: 4 }),
          ...(client === undefined ? {} : { client }),
        },
        signal,
      );
    } finally {
      await client?.close();
    }
    return 0;
  },
};
