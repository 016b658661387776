/** The control plane as a program of its own, for tests: prints `ready` when it is. */
import { parseFlags } from "#lib/flags.ts";
import { systemClock } from "#lib/clock.ts";
import { errorText, jsonLog } from "#lib/log.ts";
import { flags } from "../../control/config.ts";
import { runControl } from "../../control/main.ts";

const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
try {
  const config = parseFlags("keelson control", flags, process.argv.slice(2));
  const ready = (): void => console.log("ready");
  await runControl(config, { log: jsonLog("control"), clock: systemClock, ready }, stop.signal);
} catch (cause) {
  console.error(errorText(cause));
  process.exitCode = 1;
}
