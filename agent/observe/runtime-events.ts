import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Who hears of the runtime. */
export interface RuntimeEventPorts {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Log;
  /** Something of this Pod changed. */
  readonly dirty: (podUid: string) => void;
  /** Anything may have changed: look at everything. */
  readonly relist: () => void;
  /** The stream of events broke: the runtime may be away. */
  readonly broke: () => void;
}

const retry = { firstMs: 100, maxMs: 5_000 };

/** Follows the runtime's events until the signal; when the stream breaks, asks for a relist and follows anew. */
export async function followRuntime(ports: RuntimeEventPorts, signal: AbortSignal): Promise<void> {
  let waitMs = retry.firstMs;
  while (!signal.aborted) {
    try {
      ports.relist();
      for await (const event of ports.runtime.events(signal)) {
        waitMs = retry.firstMs;
        if (event.podUid === "") ports.relist();
        else ports.dirty(event.podUid);
      }
    } catch (cause) {
      if (signal.aborted) return;
      ports.broke();
      ports.log.warn("runtime events broke off", { cause: errorText(cause), retryInMs: waitMs });
    }
    await ports.clock.sleep(waitMs, signal).catch(() => undefined);
    waitMs = Math.min(retry.maxMs, waitMs * 2);
  }
}
