import { RuntimeError } from "../runtime.ts";
import { signalNumber } from "../signals.ts";
import type { Method } from "../../grpc/grpc-channel.ts";
import type { Channel } from "./channel.ts";

/** CRI's Signal enumeration counts in the order of the alphabet, after 0 for the runtime's default. */
const names: readonly string[] = [
  ..."ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ".split(
    " ",
  ),
  "RTMIN",
  ...Array.from({ length: 15 }, (_, i) => `RTMIN+${i + 1}`),
  ...Array.from({ length: 14 }, (_, i) => `RTMAX-${14 - i}`),
  "RTMAX",
].map((name) => `SIG${name}`);

/** Where a container's own stop signal is kept, whether the runtime knows the field or not. */
export const stopSignalAnnotation = "io.keelson.container.stop-signal";

/** @throws {RuntimeError} `invalid` for a name that is no signal. */
export function signalToCri(name: string): number {
  const place = names.indexOf(name);
  if (place < 0) throw new RuntimeError("invalid", `cannot stop a container with "${name}": it is no signal`);
  return place + 1;
}

/** undefined for the runtime's default. */
export function signalFromCri(value: number): string | undefined {
  return names[value - 1];
}

const kill: Method = {
  path: "/containerd.services.tasks.v1.Tasks/Kill",
  request: "containerd.services.tasks.v1.KillRequest",
  response: "Empty",
};
const wait: Method = {
  path: "/containerd.services.tasks.v1.Tasks/Wait",
  request: "containerd.services.tasks.v1.WaitRequest",
  response: "Empty",
};
const inKubernetesNamespace = { "containerd-namespace": "k8s.io" };
const killMs = 10_000;

/**
 * Sends a container its own stop signal and waits for its end, through containerd's task service: its CRI part
 * before 2.2 knows no signal but the image's. Returns when the time is over or the container has ended.
 */
export async function askToStop(
  channel: Channel,
  containerId: string,
  signalName: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const request = { containerId, signal: signalNumber(signalName) ?? 15 };
  try {
    await channel.call(kill, request, killMs, signal, inKubernetesNamespace);
    await channel.call(wait, { containerId }, timeoutMs, signal, inKubernetesNamespace);
  } catch {
    // Gone, late or refused: the runtime's own stop follows, and ends it in any case.
    signal.throwIfAborted();
  }
}
