import { readFileSync } from "node:fs";
import { runCni, systemPorts } from "../cni/main.ts";
import type { Command } from "./command.ts";

/** `keelson cni`: the plugin, called with CNI's variables and its configuration on standard input. */
export const cni: Command = {
  name: "cni",
  summary: "the pod network plugin, as a container runtime calls it",
  help: () =>
    "usage: CNI_COMMAND=ADD|DEL|CHECK|GC|STATUS|VERSION ... keelson cni < network.json\n\nA container runtime calls this; CNI specification 0.3.0 to 1.1.0.\n",
  async run(_args, io) {
    const stdin = io.env["CNI_COMMAND"] === "VERSION" ? "" : readFileSync(0, "utf8");
    const { stdout, exitCode } = await runCni(io.env, stdin, systemPorts);
    io.out(stdout === "" ? "" : `${stdout}\n`);
    return exitCode;
  },
};
