/**
 * An agent on a real containerd, as a program that ends itself by SIGKILL at a change it makes to the runtime:
 * `node agent-program.ts '{"endpoint": ..., "folder": ..., "dieAt": 3, "dieWhen": "during"}'`.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { changingCalls, watchedRuntime } from "../../agent/runtime/watched-runtime.ts";

/** How the program runs, and ends. */
export interface AgentProgram {
  readonly endpoint: string;
  readonly folder: string;
  /** The how-manieth change; 0 for never. */
  readonly dieAt: number;
  /** `during`: the runtime has been asked and has not answered. */
  readonly dieWhen: "before" | "during" | "after";
  /** For an agent with an API. */
  readonly kubeconfig?: string;
}

/** The flags of the agent, in this folder. */
export function agentFlags(folder: string): readonly string[] {
  return [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=192.0.2.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=/${path.basename(folder)}`,
    "--healthz-port=0",
  ];
}

if (process.argv[1] === import.meta.filename) {
  const { endpoint, folder, dieAt, dieWhen, kubeconfig } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as AgentProgram;
  const die = (): void => void process.kill(process.pid, "SIGKILL");
  let changes = 0;
  const real = await CriRuntime.connect(endpoint, AbortSignal.timeout(10_000));
  const runtime = watchedRuntime(real, async (call, _, proceed) => {
    if (changingCalls.has(call)) changes += 1;
    if (!changingCalls.has(call) || changes !== dieAt) return await proceed();
    if (dieWhen === "before") die();
    if (dieWhen === "during") void delay(5).then(die);
    const answer = await proceed();
    die();
    return answer;
  });
  await runAgent(
    parseFlags("agent", flags, agentFlags(folder)),
    {
      log: process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "info"),
      clock: systemClock,
      random: () => 0,
      client:
        kubeconfig === undefined ? undefined : new ApiClient(new HttpTransport(loadKubeconfig(kubeconfig))),
      runtime,
      ready: () => process.send?.("ready"),
    },
    new AbortController().signal,
  );
}
