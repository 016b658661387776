import { systemClock } from "#lib/clock.ts";
import { parseFlags, renderFlags } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { flags } from "../proxy/config.ts";
import { runProxy } from "../proxy/main.ts";
import { clientFor } from "./client.ts";
import type { Command } from "./command.ts";

/** `keelson proxy`: in place of kube-proxy. */
export const proxy: Command = {
  name: "proxy",
  summary: "run only the proxy, in place of kube-proxy",
  help: () => `usage: keelson proxy [--flag value ...]\n\n${renderFlags(flags)}\n`,
  async run(args, _io, signal) {
    const config = parseFlags("keelson proxy", flags, args);
    const log = jsonLog("proxy");
    const client = clientFor(config.kubeconfig, "proxy");
    try {
      await runProxy(config, { log, clock: systemClock, random: Math.random, client }, signal);
    } finally {
      await client.close();
    }
    return 0;
  },
};
