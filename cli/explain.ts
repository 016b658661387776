import { bool, type Flags, oneOf, parseFlags, renderFlags, text, UsageError } from "#lib/flags.ts";
import { flags as agentFlags } from "../agent/config.ts";
import type { Command } from "./command.ts";
import { askAgent } from "./local/ask-agent.ts";
import { podWords, splitWords } from "./local/pod-words.ts";

interface ExplainConfig {
  readonly namespace: string;
  readonly output: "text" | "json" | "svg";
  readonly timeline: boolean;
  readonly controlSocket: string;
}

const flags: Flags<ExplainConfig> = {
  namespace: {
    flag: "namespace",
    parse: text,
    default: "",
    help: "the Pod's namespace (-n); default, or the only one with a Pod of that name here",
  },
  output: {
    flag: "output",
    parse: oneOf("text", "json", "svg"),
    default: "text",
    help: "json for programs, svg for a picture of the Pod's start (-o)",
  },
  timeline: {
    flag: "timeline",
    parse: bool,
    switch: true,
    default: "false",
    help: "show the steps of the Pod's start with their times",
  },
  controlSocket: { ...agentFlags.controlSocket, help: "the agent's socket" },
};

/** `keelson explain pod NAME`: what the agent wants of a Pod, what it waits for, and what went wrong. */
export const explain: Command = {
  name: "explain",
  summary: "say what a Pod of this node waits for, since when, and what went wrong",
  help: () =>
    `usage: keelson explain pod NAMESPACE/NAME [-o json]
       keelson explain pod NAME [-n NAMESPACE]
       keelson explain pod UID
       keelson explain pods [-o json]
       keelson explain pod NAME --timeline
       keelson explain pod NAME -o svg > start.svg

Asks the agent of this machine, over a socket that only root may use; it answers from what it knows now, so also when
the API is away or the runtime hangs. A static Pod goes by its name with or without the node's.

${renderFlags(flags)}
`,
  async run(args, io, signal) {
    const shorts = { n: "--namespace", o: "--output" };
    const { words, flags: given } = splitWords(args, shorts, ["--timeline", "--no-timeline"]);
    const config = parseFlags("keelson explain", flags, given);
    if (words.length === 1 && words[0] === "pods") {
      const asked = `/v1/pods?${new URLSearchParams({ as: config.output }).toString()}`;
      if (config.timeline || config.output === "svg" || config.namespace !== "")
        throw new UsageError("keelson explain: pods are listed as text or json, all of the node's");
      const all = await askAgent(config.controlSocket, "GET", asked, signal);
      if (all.status !== 200) throw new Error(all.body.trim());
      io.out(all.body);
      return 0;
    }
    const pod = podWords("keelson explain", words, config.namespace, true);
    const as = config.timeline && config.output === "text" ? "timeline" : config.output;
    const query = new URLSearchParams({ pod: pod.name, as });
    if (pod.namespace !== undefined) query.set("namespace", pod.namespace);
    const answer = await askAgent(config.controlSocket, "GET", `/v1/explain?${query.toString()}`, signal);
    if (answer.status !== 200) throw new Error(answer.body.trim());
    io.out(answer.body);
    return 0;
  },
};
