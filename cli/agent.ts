import { type Flags, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { type AgentConfig, flags as agentFlags } from "../agent/config.ts";
import { clientWhenThere } from "./client.ts";
import type { Command } from "./command.ts";
import { runAgentHere } from "./node/run-agent.ts";

interface AgentCommandConfig extends AgentConfig {
  readonly kubeconfig: string;
}

const flags: Flags<AgentCommandConfig> = {
  kubeconfig: {
    flag: "kubeconfig",
    parse: text,
    default: "",
    help: "how to reach the API; without it only static Pods run",
  },
  ...agentFlags,
};

/** `keelson agent`: in place of kubelet. */
export const agent: Command = {
  name: "agent",
  summary: "run only the agent, in place of kubelet",
  help: () => `usage: keelson agent [--flag value ...]\n\n${renderFlags(flags)}\n`,
  async run(args, _io, signal) {
    const config = parseFlags("keelson agent", flags, args);
    const log = jsonLog("agent");
    const client =
      config.kubeconfig === "" ? undefined : await clientWhenThere(config.kubeconfig, "agent", log, signal);
    try {
      await runAgentHere(config, client, log, signal);
    } finally {
      await client?.close();
    }
    return 0;
  },
};
