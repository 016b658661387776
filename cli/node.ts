import { systemClock } from "#lib/clock.ts";
import { type Flags, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { together } from "#lib/together.ts";
import { type AgentConfig, flags as agentFlags } from "../agent/config.ts";
import { flags as proxyFlags, type ProxyConfig, proxyMode } from "../proxy/config.ts";
import { runProxy } from "../proxy/main.ts";
import { clientWhenThere } from "./client.ts";
import { defaultNodeName } from "./cluster/machine.ts";
import type { Command } from "./command.ts";
import { keepConflist } from "./node/pod-network.ts";
import { runAgentHere } from "./node/run-agent.ts";

interface NodeConfig extends AgentConfig {
  readonly kubeconfig: string;
  readonly proxyMode: ProxyConfig["mode"];
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly cniConfDir: string;
}

const flags: Flags<NodeConfig> = {
  kubeconfig: {
    flag: "kubeconfig",
    parse: text,
    default: "/etc/keelson/node.kubeconfig",
    help: "how to reach the API",
  },
  ...agentFlags,
  proxyMode: {
    flag: "proxy-mode",
    parse: proxyMode,
    default: "iptables",
    help: 'how Services become kernel rules: "iptables" or "userspace"',
  },
  clusterCidr: { flag: "cluster-cidr", parse: text, default: "10.244.0.0/16", help: "addresses of all Pods" },
  serviceCidr: {
    flag: "service-cluster-ip-range",
    parse: text,
    default: "10.96.0.0/16",
    help: "addresses of Services",
  },
  cniConfDir: {
    flag: "cni-conf-dir",
    parse: text,
    default: "/etc/cni/net.d",
    help: 'where the Pod network\'s configuration is written; "" leaves it to others',
  },
};

/** `keelson node`: agent, proxy and Pod network in one process, with one client of the API. */
export const node: Command = {
  name: "node",
  summary: "run the node: agent, proxy and pod network in one process",
  help: () => `usage: keelson node [--flag value ...]\n\n${renderFlags(flags)}\n`,
  async run(args, _io, signal) {
    const config = parseFlags("keelson node", flags, args);
    const log = jsonLog("node");
    const client = await clientWhenThere(config.kubeconfig, "node", log, signal);
    const nodeName = config.nodeName === "" ? defaultNodeName() : config.nodeName;
    const ports = { clock: systemClock, random: Math.random, client };
    const proxy: ProxyConfig = {
      ...parseFlags("keelson proxy", proxyFlags, []),
      nodeName,
      mode: config.proxyMode,
      clusterCidrs: [config.clusterCidr],
      serviceCidrs: [config.serviceCidr],
    };
    try {
      await together(
        signal,
        (stop) => runAgentHere(config, client, log.child({ part: "agent" }), stop),
        (stop) => runProxy(proxy, { ...ports, log: log.child({ part: "proxy" }) }, stop),
        async (stop) => {
          if (config.cniConfDir === "") return;
          const options = { nodeName, confDir: config.cniConfDir, clusterCidr: config.clusterCidr };
          await keepConflist(options, { ...ports, log: log.child({ part: "pod-network" }) }, stop);
        },
      );
    } finally {
      await client.close();
    }
    return 0;
  },
};
