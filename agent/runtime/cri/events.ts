import { setTimeout as delay } from "node:timers/promises";
import type { Change } from "../own-changes.ts";
import { RuntimeError } from "../runtime.ts";
import type { Method } from "../../grpc/grpc-channel.ts";
import type { Channel } from "./channel.ts";
import type { Codec } from "../../grpc/message-codec.ts";

const criEvents: Method = {
  path: "/runtime.v1.RuntimeService/GetContainerEvents",
  request: "GetEventsRequest",
  response: "ContainerEventResponse",
};
const containerdEvents: Method = {
  path: "/containerd.services.events.v1.Events/Subscribe",
  request: "containerd.services.events.v1.SubscribeRequest",
  response: "containerd.services.events.v1.Envelope",
};
const changeOfTopic: Readonly<Record<string, Change>> = {
  "/tasks/start": "started",
  "/tasks/exit": "ended",
  "/tasks/oom": "hurt",
  "/containers/delete": "removed",
};
const filters = Object.keys(changeOfTopic).map((topic) => `namespace==k8s.io,topic=="${topic}"`);
/** ContainerEventType; a container that was only created runs nothing yet. */
const changeOfType: readonly (Change | undefined)[] = [undefined, "started", "ended", "removed"];
const relistMs = 1_000;
/** The fingerprint of what runs; anything else has ended or not begun. */
export const runs = "runs";

/** A container or sandbox that something happened to. */
export interface Changed {
  readonly id: string;
  readonly change: Change;
}

interface CriEvent {
  readonly containerId: string;
  readonly containerEventType: number;
}

interface Envelope {
  readonly topic: string;
  readonly event: { readonly value: Uint8Array } | null;
}

/**
 * The containers and sandboxes that something happened to: from CRI where the runtime tells them,
 * else from containerd's own events on the same socket, else by listing every second.
 * @param fingerprints every id with its state, {@link runs} for what runs, for the last way.
 */
export async function* changes(
  channel: Channel,
  codec: Codec,
  fingerprints: (signal: AbortSignal) => Promise<ReadonlyMap<string, string>>,
  signal: AbortSignal,
): AsyncGenerator<Changed, void, undefined> {
  try {
    const events = channel.stream<CriEvent>(criEvents, {}, signal);
    for await (const { containerId: id, containerEventType } of events) {
      const change = changeOfType[containerEventType];
      if (change !== undefined) yield { id, change };
    }
    return ended(signal);
  } catch (cause) {
    if (!isUnsupported(cause)) throw cause;
  }
  try {
    const headers = { "containerd-namespace": "k8s.io" };
    for await (const event of channel.stream<Envelope>(containerdEvents, { filters }, signal, headers)) {
      const id = containerOf(event, codec);
      const change = changeOfTopic[event.topic];
      if (id !== undefined && change !== undefined) yield { id, change };
    }
    return ended(signal);
  } catch (cause) {
    if (!isUnsupported(cause)) throw cause;
  }
  let before = await fingerprints(signal);
  while (!signal.aborted) {
    await delay(relistMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    const now = await fingerprints(signal);
    const ids = new Set([...before.keys(), ...now.keys()]);
    for (const id of ids) {
      if (before.get(id) === now.get(id)) continue;
      const state = now.get(id);
      yield { id, change: state === undefined ? "removed" : state === runs ? "started" : "ended" };
    }
    before = now;
  }
}

/** undefined for what only concerns a process run by exec. */
function containerOf(envelope: Envelope, codec: Codec): string | undefined {
  if (envelope.event === null) return undefined;
  const event = codec.decode("containerd.events.TaskExit", envelope.event.value) as {
    readonly containerId: string;
    readonly id: string;
  };
  // A task's exit names the process: the container itself, or an exec in it.
  return envelope.topic === "/tasks/exit" && event.id !== event.containerId ? undefined : event.containerId;
}

function ended(signal: AbortSignal): void {
  if (!signal.aborted) throw new RuntimeError("unavailable", "the runtime ended its stream of events");
}

function isUnsupported(cause: unknown): boolean {
  return cause instanceof RuntimeError && cause.code === "unsupported";
}
