/** The overlay as a process of its own, so that a test can start it inside a network namespace. */
import { parseFlags } from "#lib/flags.ts";
import { systemClock } from "#lib/clock.ts";
import { jsonLog } from "#lib/log.ts";
import { systemIptables } from "#linux/iptables.ts";
import { flags } from "../../overlay/config.ts";
import { runOverlay } from "../../overlay/main.ts";

const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
const config = parseFlags("keelson overlay", flags, process.argv.slice(2), {
  prefix: "FLANNELD_",
  variables: process.env,
});
const ports = {
  log: jsonLog("overlay"),
  clock: systemClock,
  random: Math.random,
  iptables: systemIptables({ family: 4 }),
};
await runOverlay(config, ports, stop.signal);
