import type { Clock } from "#lib/clock.ts";
import { goDuration } from "../plan/pull-words.ts";

const thresholdMs = 180_000;

/**
 * Whether the passes over what the runtime has come to an end. One that does not, or that fails again and again, means
 * that nobody would notice a container that ends without an event.
 */
export class RelistHealth {
  readonly #clock: Clock;
  /** When the first of the passes began that have not ended well since; monotonic. */
  #sinceMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begins(): void {
    this.#sinceMs ??= this.#clock.monotonicMs();
  }

  endsWell(): void {
    this.#sinceMs = undefined;
  }

  /** What the node's Ready condition says, in the kubelet's words; undefined while all is well. */
  get trouble(): string | undefined {
    if (this.#sinceMs === undefined) return undefined;
    const forMs = this.#clock.monotonicMs() - this.#sinceMs;
    if (forMs < thresholdMs) return undefined;
    return `PLEG is not healthy: pleg was last seen active ${goDuration(forMs)} ago; threshold is ${goDuration(thresholdMs)}`;
  }
}
