import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import type { Runtime, RuntimeStatus } from "../runtime/runtime.ts";

const notReadyPollMs = 500;

/** The runtime's own word on itself: followed closely while it is not ready, seldom while it is. */
export class RuntimeState {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  #status: RuntimeStatus | undefined;
  #version: string | undefined;
  #wanted = Promise.withResolvers<void>();

  constructor(runtime: Runtime, clock: Clock) {
    this.#runtime = runtime;
    this.#clock = clock;
  }

  get status(): RuntimeStatus | undefined {
    return this.#status;
  }

  /** Whether it answers and says that it works. */
  get runtimeReady(): boolean {
    return this.#status?.runtimeReady === true;
  }

  get networkReady(): boolean {
    return this.#status?.networkReady === true;
  }

  /** `containerd://1.6.20`, as the Node object writes it. */
  get version(): string {
    return `${this.#runtime.name}://${this.#version ?? "unknown"}`;
  }

  /** Why the node cannot run Pods, in the words of its Ready condition; empty when it can. */
  get troubles(): readonly string[] {
    const status = this.#status;
    if (status === undefined || !status.runtimeReady) {
      return [`container runtime is down: ${status?.message ?? "it did not answer"}`];
    }
    if (status.networkReady) return [];
    return [
      `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:${status.message}`,
    ];
  }

  /** Asks once. @returns whether readiness changed. */
  async refresh(signal: AbortSignal): Promise<boolean> {
    const before = this.#status;
    try {
      this.#status = await this.#runtime.status(signal);
      this.#version ??= (await this.#runtime.version(signal)).version.replace(/^v/, "");
    } catch (cause) {
      const message = errorText(cause);
      this.#status = {
        runtimeReady: false,
        networkReady: false,
        message,
        cgroupDriver: before?.cgroupDriver,
        handlers: before?.handlers ?? [],
        strictGroups: before?.strictGroups ?? false,
      };
    }
    return (
      before?.networkReady !== this.#status.networkReady || before.runtimeReady !== this.#status.runtimeReady
    );
  }

  /** Something is wrong with it: do not wait for the next look. */
  lookNow(): void {
    this.#wanted.resolve();
  }

  /** Keeps asking until the signal. @param wellMs time between two looks at a runtime that is well. */
  async follow(wellMs: number, changed: () => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wanted = Promise.withResolvers<void>();
      if (await this.refresh(signal)) changed();
      const waitMs = this.troubles.length === 0 ? wellMs : notReadyPollMs;
      await Promise.race([this.#wanted.promise, this.#clock.sleep(waitMs, signal).catch(() => undefined)]);
    }
  }
}
