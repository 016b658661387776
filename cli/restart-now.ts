import { type Flags, oneOf, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { flags as agentFlags } from "../agent/config.ts";
import type { Command } from "./command.ts";
import { askAgent } from "./local/ask-agent.ts";
import { podWords, splitWords } from "./local/pod-words.ts";

interface RestartNowConfig {
  readonly namespace: string;
  readonly container: string;
  readonly output: "text" | "json";
  readonly controlSocket: string;
}

const flags: Flags<RestartNowConfig> = {
  namespace: {
    flag: "namespace",
    parse: text,
    default: "",
    help: "the Pod's namespace (-n); default, or the only one with a Pod of that name here",
  },
  container: {
    flag: "container",
    parse: text,
    default: "",
    help: "only this container (-c); every one that waits unless given",
  },
  output: { flag: "output", parse: oneOf("text", "json"), default: "text", help: "json for programs (-o)" },
  controlSocket: { ...agentFlags.controlSocket, help: "the agent's socket" },
};

/** `keelson restart-now POD`: what waits for a back-off is tried at once. */
export const restartNow: Command = {
  name: "restart-now",
  summary: "cut the back-off of a Pod of this node short",
  help: () =>
    `usage: keelson restart-now NAMESPACE/NAME [-c CONTAINER]
       keelson restart-now NAME [-n NAMESPACE] [-c CONTAINER]

Tries at once what waits between two tries: a container that crashed (CrashLoopBackOff), an image that could not be
pulled (ImagePullBackOff), a start that failed. What runs is left alone, and where nothing waits nothing is done, with
exit code 1. A next failure backs off as long as it would have. Asks the agent of this machine; needs root.

${renderFlags(flags)}
`,
  async run(args, io, signal) {
    const shorts = { n: "--namespace", o: "--output", c: "--container" };
    const { words, flags: given } = splitWords(args, shorts, []);
    const config = parseFlags("keelson restart-now", flags, given);
    const pod = podWords("keelson restart-now", words, config.namespace, false);
    const query = new URLSearchParams({ pod: pod.name, as: config.output });
    if (pod.namespace !== undefined) query.set("namespace", pod.namespace);
    if (config.container !== "") query.set("container", config.container);
    const answer = await askAgent(
      config.controlSocket,
      "POST",
      `/v1/restart-now?${query.toString()}`,
      signal,
    );
    if (answer.status !== 200) throw new Error(answer.body.trim());
    io.out(answer.body);
    return 0;
  },
};
