import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import type { ImageState } from "../model.ts";
import { invalidImage, pullPolicyOf } from "../plan/image-name.ts";
import type { ImageAuth, ImageStatus, Runtime } from "../runtime/runtime.ts";

const backoff = { firstMs: 10_000, maxMs: 300_000 };
const maxBackoffs = 4_096;

/** What somebody wants to hear while an image is fetched. */
export type PullEvent = (type: "Normal" | "Warning", reason: string, message: string) => void;

/** Makes images present, by pull policy, several at a time, each only once at the same time. */
export class ImagePuller {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  readonly #running = new Map<string, Promise<string>>();
  readonly #failures = new Map<string, number>();
  #active = 0;

  constructor(runtime: Runtime, clock: Clock, parallel: number) {
    this.#runtime = runtime;
    this.#clock = clock;
    this.#limit = Math.max(1, parallel);
  }

  /**
   * @param owner the Pod and image: each backs off alone.
   * @param credentials tried one after the other; asked for only when something is pulled.
   * @returns the image, or how it failed and when to ask again. Never throws but for the signal.
   */
  async ensure(
    owner: string,
    image: string,
    policy: string | undefined,
    credentials: () => Promise<readonly ImageAuth[]>,
    tell: PullEvent,
    signal: AbortSignal,
  ): Promise<ImageState> {
    const invalid = invalidImage(image);
    if (invalid !== undefined) {
      const message = `Failed to apply default image tag "${image}": ${invalid}`;
      tell("Warning", "InspectFailed", message);
      return this.#failed("InvalidImageName", message, this.#clock.now() + 10_000);
    }
    let present: ImageStatus | undefined;
    try {
      present = await this.#runtime.imageStatus(image, signal);
    } catch (cause) {
      signal.throwIfAborted();
      const message = `Failed to inspect image "${image}": ${errorText(cause)}`;
      tell("Warning", "InspectFailed", message);
      return this.#failed("ImageInspectError", message, this.#clock.now() + 10_000);
    }
    const rule = pullPolicyOf(image, policy);
    if (present !== undefined && rule !== "Always") {
      tell("Normal", "Pulled", `Container image "${image}" already present on machine`);
      this.#failures.delete(owner);
      return { state: "present", ref: present.id, user: present.user };
    }
    if (rule === "Never") {
      const message = `Container image "${image}" is not present with pull policy of Never`;
      tell("Warning", "ErrImageNeverPull", message);
      return this.#failed("ErrImageNeverPull", message, this.#clock.now() + 10_000);
    }
    return this.#pull(owner, image, credentials, tell, signal);
  }

  /** Forgets the back-off of what starts with this owner. */
  forget(prefix: string): void {
    for (const owner of this.#failures.keys()) if (owner.startsWith(prefix)) this.#failures.delete(owner);
  }

  async #pull(
    owner: string,
    image: string,
    credentials: () => Promise<readonly ImageAuth[]>,
    tell: PullEvent,
    signal: AbortSignal,
  ): Promise<ImageState> {
    tell("Normal", "Pulling", `Pulling image "${image}"`);
    const startedMs = this.#clock.monotonicMs();
    try {
      const auths = await credentials();
      const ref = await this.#shared(image, auths, signal);
      const status = await this.#runtime.imageStatus(image, signal);
      const took = ((this.#clock.monotonicMs() - startedMs) / 1_000).toFixed(3).replace(/\.?0+$/, "");
      tell(
        "Normal",
        "Pulled",
        `Successfully pulled image "${image}" in ${took}s (${took}s including waiting). Image size: ${status?.sizeBytes ?? 0} bytes.`,
      );
      this.#failures.delete(owner);
      return { state: "present", ref: status?.id ?? ref, user: status?.user ?? {} };
    } catch (cause) {
      signal.throwIfAborted();
      const message = errorText(cause);
      const failures = (this.#failures.get(owner) ?? 0) + 1;
      if (this.#failures.size < maxBackoffs) this.#failures.set(owner, failures);
      tell("Warning", "Failed", `Failed to pull image "${image}": ${message}`);
      tell("Warning", "Failed", "Error: ErrImagePull");
      return this.#failed("ErrImagePull", message, this.#clock.now() + backoffMs(failures, backoff));
    }
  }

  /** Pods that want the same image with the same credentials at the same time share one pull. */
  #shared(image: string, auths: readonly ImageAuth[], signal: AbortSignal): Promise<string> {
    const key = `${image}\0${JSON.stringify(auths)}`;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const pull = this.#inTurn(() => this.#withEach(image, auths, signal)).finally(() =>
      this.#running.delete(key),
    );
    this.#running.set(key, pull);
    return pull;
  }

  async #withEach(image: string, auths: readonly ImageAuth[], signal: AbortSignal): Promise<string> {
    let last: unknown;
    for (const auth of auths.length === 0 ? [undefined] : auths) {
      try {
        return (await this.#runtime.pullImage(image, auth, signal)).imageRef;
      } catch (cause) {
        signal.throwIfAborted();
        last = cause;
      }
    }
    throw last;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#active >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#active += 1;
    try {
      return await work();
    } finally {
      this.#active -= 1;
      this.#waiting.shift()?.();
    }
  }

  #failed(reason: string, message: string, retryAtMs: number): ImageState {
    return { state: "failed", reason, message, retryAtMs };
  }
}

/** What a container shows while it waits for the next pull. */
export function backingOffPull(image: string, failed: ImageState & { readonly state: "failed" }): ImageState {
  if (failed.reason !== "ErrImagePull") return failed;
  return {
    ...failed,
    reason: "ImagePullBackOff",
    message: `Back-off pulling image "${image}": ErrImagePull: ${failed.message}`,
  };
}
