import { AsyncLocalStorage } from "node:async_hooks";
import type { Clock } from "#lib/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { watchedRuntime } from "../runtime/watched-runtime.ts";

/** How long the runtime may take to answer before its Pod says so. */
const slowMs = 20_000;
/** What takes as long as the image, the command or the user does. */
const patient: ReadonlySet<string> = new Set(["pullImage", "execSync", "exec", "attach", "portForward"]);

/**
 * Knows for which Pod each call to the runtime is made, and tells when one does not come back: such a Pod waits, and
 * its user sees what for. The call itself has its own deadline.
 */
export class SlowCalls {
  readonly #pod = new AsyncLocalStorage<string>();
  readonly #clock: Clock;
  readonly #say: (podUid: string, message: string) => void;

  /** @param say told once of each call that is slow. */
  constructor(clock: Clock, say: (podUid: string, message: string) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  /** What is called within `work`, and what that leaves running, is for this Pod. */
  async within(podUid: string, work: () => Promise<void>): Promise<void> {
    await this.#pod.run(podUid, work);
  }

  /** The Pod for which what runs now is done. */
  get podUid(): string | undefined {
    return this.#pod.getStore();
  }

  /** The same runtime, watched. */
  watch(runtime: Runtime): Runtime {
    return watchedRuntime(runtime, async (call, args, proceed) => {
      const podUid = this.#pod.getStore();
      if (podUid === undefined || patient.has(call)) return await proceed();
      const [, seconds] = args;
      const ownMs = call === "stopContainer" && typeof seconds === "number" ? seconds * 1_000 : 0;
      const startedMs = this.#clock.monotonicMs();
      const cancel = this.#clock.after(ownMs + slowMs, () => {
        const took = Math.round((this.#clock.monotonicMs() - startedMs) / 1_000);
        this.#say(podUid, `the container runtime has not answered ${call} for ${took}s`);
      });
      try {
        return await proceed();
      } finally {
        cancel();
      }
    });
  }
}
