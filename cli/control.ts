import { systemClock } from "#lib/clock.ts";
import { parseFlags, renderFlags } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { flags } from "../control/config.ts";
import { runControl } from "../control/main.ts";
import type { Command } from "./command.ts";

/** `keelson control`: the compact control plane. */
export const control: Command = {
  name: "control",
  summary: "run the control plane: API server, scheduler, controllers, DNS",
  help: () => `usage: keelson control [--flag value ...]\n\n${renderFlags(flags)}\n`,
  async run(args, _io, signal) {
    const config = parseFlags("keelson control", flags, args);
    await runControl(config, { log: jsonLog("control"), clock: systemClock }, signal);
    return 0;
  },
};
