import { answers, criSockets } from "./cluster/machine.ts";
import type { Command } from "./command.ts";
import { type Check, checkMachine } from "./doctor/checks.ts";

/** `keelson doctor [-o json]`: what this machine lacks, each with the command that mends it. */
export const doctor: Command = {
  name: "doctor",
  summary: "say what this machine lacks, and what mends it",
  help: () =>
    "usage: keelson doctor [-o json]\n\nLooks at the machine and changes nothing. Exit code 1 when something a node needs is missing.\n",
  async run(args, io) {
    const checks = [...(await checkMachine()), await checkRuntime()];
    if (args.join(" ") === "-o json") io.out(`${JSON.stringify(checks)}\n`);
    else {
      const width = Math.max(...checks.map((check) => check.what.length));
      for (const check of checks) {
        io.out(
          `${check.level.padEnd(7)}  ${check.what.padEnd(width)}  ${check.why}${check.mend === "" ? "" : `  ->  ${check.mend}`}\n`,
        );
      }
    }
    return checks.some((check) => check.level === "missing") ? 1 : 0;
  },
};

async function checkRuntime(): Promise<Check> {
  const what = "container runtime";
  for (const socket of [...criSockets, "unix:///var/run/docker.sock"]) {
    if (await answers(socket)) return { what, level: "ok", why: socket, mend: "" };
  }
  return {
    what,
    level: "warning",
    why: "none answers; keelson up starts its own containerd",
    mend: "apt-get install containerd runc",
  };
}
