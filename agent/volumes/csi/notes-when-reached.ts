import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { CsiNodeInfo } from "./csi-driver.ts";
import type { DriverNotes } from "./csi-drivers.ts";

/** What noting drivers later needs. */
export interface LaterPorts {
  readonly notes: DriverNotes;
  /** Whether the API is out of reach, and Pods run from what was known. */
  readonly away: () => boolean;
  /** Resolves when it has been reached. */
  readonly reached: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends what waits. */
  readonly signal: AbortSignal;
}

const retry = { firstMs: 1_000, maxMs: 60_000 };

/**
 * Notes drivers in the API; while that is out of reach, later. A driver serves its volumes meanwhile: the Pods of
 * before need it, and the API has heard of it in an earlier life.
 */
export class NotesWhenReached implements DriverNotes {
  readonly #ports: LaterPorts;
  /** Driver -> what is to be noted of it; undefined for one that has gone. */
  readonly #pending = new Map<string, CsiNodeInfo | undefined>();
  #waits = false;

  constructor(ports: LaterPorts) {
    this.#ports = ports;
  }

  async install(driver: string, info: CsiNodeInfo, signal: AbortSignal): Promise<void> {
    await this.#note(driver, info, signal);
  }

  async uninstall(driver: string, signal: AbortSignal): Promise<void> {
    await this.#note(driver, undefined, signal);
  }

  async #note(driver: string, info: CsiNodeInfo | undefined, signal: AbortSignal): Promise<void> {
    const { away } = this.#ports;
    this.#pending.delete(driver);
    if (!away()) {
      try {
        await this.#write(driver, info, signal);
        return;
      } catch (cause) {
        signal.throwIfAborted();
        if (!away()) throw cause; // it was reached, and refused
      }
    }
    this.#pending.set(driver, info);
    if (!this.#waits) void this.#later();
  }

  /** Never throws: what it cannot note is said, and tried again. */
  async #later(): Promise<void> {
    const { reached, clock, log, signal } = this.#ports;
    this.#waits = true;
    try {
      await reached(signal);
      for (let failures = 0; this.#pending.size > 0; ) {
        const [driver, info] = [...this.#pending][0] ?? ["", undefined];
        try {
          await this.#write(driver, info, signal);
          if (this.#pending.get(driver) === info) this.#pending.delete(driver);
          failures = 0;
        } catch (cause) {
          signal.throwIfAborted();
          failures += 1;
          log.warn("cannot note a CSI driver", { driver, cause: errorText(cause) });
          await clock.sleep(backoffMs(failures, retry), signal);
        }
      }
    } catch {
      // the agent ends
    } finally {
      this.#waits = false;
    }
  }

  async #write(driver: string, info: CsiNodeInfo | undefined, signal: AbortSignal): Promise<void> {
    const { notes } = this.#ports;
    await (info === undefined ? notes.uninstall(driver, signal) : notes.install(driver, info, signal));
  }
}
