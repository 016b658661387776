import { setTimeout as delay } from "node:timers/promises";
import type { PullProgress } from "../runtime.ts";
import type { Method } from "../../grpc/grpc-channel.ts";
import type { Channel } from "./channel.ts";

const listStatuses: Method = {
  path: "/containerd.services.content.v1.Content/ListStatuses",
  request: "containerd.services.content.v1.ListStatusesRequest",
  response: "containerd.services.content.v1.ListStatusesResponse",
};
const everyMs = 5_000;

/**
 * Tells what has arrived of the content that containerd is fetching, until the signal. CRI says nothing of it, so
 * this asks containerd's own service on the same socket; pulls at the same time are counted together.
 * Ends at once with a runtime that has no such service.
 */
export async function followPull(
  channel: Channel,
  tell: (progress: PullProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (;;) {
      await delay(everyMs, undefined, { signal, ref: false });
      const { statuses } = await channel.call<{
        statuses: readonly { readonly offset: number; readonly total: number }[];
      }>(listStatuses, { filters: [] }, everyMs, signal, { "containerd-namespace": "k8s.io" });
      if (statuses.length === 0) continue;
      tell({
        currentBytes: statuses.reduce((sum, { offset }) => sum + offset, 0),
        totalBytes: statuses.reduce((sum, { total }) => sum + total, 0),
      });
    }
  } catch {
    // The pull has ended, or this runtime does not tell: the time alone says how long it takes.
  }
}
