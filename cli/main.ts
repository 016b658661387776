import { errorText } from "#lib/log.ts";
import { UsageError } from "#lib/flags.ts";
import type { Command, CommandIo } from "./command.ts";

/**
 * The commands, each loaded only when it is called: starting fast is a promise.
 * A name that begins with a space is called by our own parts and not shown.
 */
const commands: Readonly<
  Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>
> = {
  up: { summary: "start a whole cluster on this machine", load: async () => (await import("./up.ts")).up },
  down: {
    summary: "stop it; --purge removes every trace",
    load: async () => (await import("./down.ts")).down,
  },
  status: {
    summary: "show the parts, their versions, ports and health",
    load: async () => (await import("./status.ts")).status,
  },
  doctor: {
    summary: "say what this machine lacks, and what mends it",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  explain: {
    summary: "say what a Pod of this node waits for, since when, and what went wrong",
    load: async () => (await import("./explain.ts")).explain,
  },
  "restart-now": {
    summary: "cut the back-off of a Pod of this node short",
    load: async () => (await import("./restart-now.ts")).restartNow,
  },
  control: {
    summary: "run the control plane: API server, scheduler, controllers, DNS",
    load: async () => (await import("./control.ts")).control,
  },
  node: {
    summary: "run the node: agent, proxy and pod network in one process",
    load: async () => (await import("./node.ts")).node,
  },
  agent: {
    summary: "run only the agent, in place of kubelet",
    load: async () => (await import("./agent.ts")).agent,
  },
  proxy: {
    summary: "run only the proxy, in place of kube-proxy",
    load: async () => (await import("./proxy.ts")).proxy,
  },
  overlay: {
    summary: "run only the overlay, in place of flanneld",
    load: async () => (await import("./overlay.ts")).overlay,
  },
  cni: {
    summary: "the pod network plugin, as a container runtime calls it",
    load: async () => (await import("./cni.ts")).cni,
  },
  version: { summary: "print versions", load: async () => (await import("./version.ts")).version },
  completion: {
    summary: "print shell completion for bash",
    load: async () => (await import("./completion.ts")).completion,
  },
};
const internal: Readonly<Record<string, () => Promise<Command>>> = {
  supervise: async () => (await import("./supervise.ts")).supervise,
};

/** The names a person may type after `keelson`. */
export const commandNames: readonly string[] = Object.keys(commands);

/**
 * Runs one command line.
 * @returns the exit code: 0 ok, 1 failed, 2 usage.
 */
export async function runCommand(
  words: readonly string[],
  io: CommandIo,
  signal: AbortSignal,
): Promise<number> {
  const [name, ...args] = words;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    io.out(overview());
    return name === undefined ? 2 : 0;
  }
  const load = commands[name === "--version" ? "version" : name]?.load ?? internal[name];
  if (load === undefined) {
    io.err(`keelson: there is no command "${name}"; see keelson --help\n`);
    return 2;
  }
  try {
    const command = await load();
    if (args.includes("--help") || args.includes("-h")) {
      io.out(command.help());
      return 0;
    }
    return await command.run(args, io, signal);
  } catch (cause) {
    if (cause instanceof UsageError) {
      io.err(`${cause.message}\n`);
      return 2;
    }
    io.err(`keelson ${name}: ${errorText(cause)}\n`);
    return 1;
  }
}

function overview(): string {
  const width = Math.max(...commandNames.map((name) => name.length));
  const rows = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `keelson: a complete Kubernetes node in one program\n\nusage: keelson COMMAND [--flag value ...]\n\n${rows.join("\n")}\n\nkeelson COMMAND --help shows a command's flags and their defaults.\n`;
}
