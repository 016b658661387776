import { systemClock } from "#lib/clock.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import type { LogLimits } from "../../agent/runtime/docker/to-docker.ts";
import type { Runtime } from "../../agent/runtime/runtime.ts";
import { cniRunner } from "../../cni/runner.ts";
import { answers, criSockets } from "../cluster/machine.ts";

/** Which runtime to talk to; "" and "" take the first of containerd, CRI-O and Docker that answers. */
export interface RuntimeChoice {
  readonly containerRuntimeEndpoint: string;
  readonly dockerEndpoint: string;
  /** For Docker, which rotates logs by itself; its runtime's default unless given. */
  readonly logs?: LogLimits;
}

/** Docker's socket where nobody says otherwise. */
const dockerSocket = "unix:///var/run/docker.sock";

/** Where the CNI runner, which gives Docker's sandboxes their network, finds configurations and plugins. */
const cniPlaces = {
  confDir: "/etc/cni/net.d",
  binDirs: ["/opt/cni/bin", "/usr/lib/cni"],
  cacheDir: "/var/lib/cni",
};

/** A runtime that starts beside us may take this long to listen, in milliseconds. */
const patienceMs = 20_000;

/**
 * Connects to the node's runtime. Docker's client is loaded only when it is used.
 * @throws when the chosen one does not answer within 20 s, or none does.
 */
export async function openRuntime(choice: RuntimeChoice, signal: AbortSignal): Promise<Runtime> {
  const chosen = choice.dockerEndpoint === "" ? choice.containerRuntimeEndpoint : choice.dockerEndpoint;
  if (chosen !== "") await untilItAnswers(chosen, signal);
  if (choice.dockerEndpoint !== "") return await openDocker(choice.dockerEndpoint, choice, signal);
  if (choice.containerRuntimeEndpoint !== "")
    return await CriRuntime.connect(choice.containerRuntimeEndpoint, signal);
  for (const socket of criSockets) if (await answers(socket)) return await CriRuntime.connect(socket, signal);
  if (await answers(dockerSocket)) return await openDocker(dockerSocket, choice, signal);
  throw new Error(
    `no container runtime answers at ${[...criSockets, dockerSocket].join(", ")}; start one, or name its socket with --container-runtime-endpoint`,
  );
}

/** The client says better than we could what is wrong with one that never does. */
async function untilItAnswers(endpoint: string, signal: AbortSignal): Promise<void> {
  const startedMs = systemClock.monotonicMs();
  while (!(await answers(endpoint)) && systemClock.monotonicMs() - startedMs < patienceMs)
    await systemClock.sleep(100, signal);
}

async function openDocker(endpoint: string, { logs }: RuntimeChoice, signal: AbortSignal): Promise<Runtime> {
  const { DockerRuntime } = await import("../../agent/runtime/docker/docker-runtime.ts");
  return await DockerRuntime.connect(endpoint, cniRunner(cniPlaces), signal, logs && { logs });
}
