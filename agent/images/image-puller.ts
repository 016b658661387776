import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import type { ImageState } from "../model.ts";
import { invalidImage, pullPolicyOf } from "../plan/image-name.ts";
import type { SourcedAuth, SourceMark } from "../plan/pull-records.ts";
import { isPullFailure, pulledWords, pullFailure, stillPullingWords } from "../plan/pull-words.ts";
import type { ImageAuth, ImageStatus, PullOptions, PullProgress, Runtime } from "../runtime/runtime.ts";
import type { PullRecords } from "./pull-records.ts";
import { type PullLimits, PullSlots } from "./pull-slots.ts";

const backoff = { firstMs: 10_000, maxMs: 300_000 };
const maxBackoffs = 4_096;
/** What needs no registry is looked at again after this. */
const retryMs = 10_000;
/** How often a pull that takes long says so. */
const progressMs = 15_000;

/** What somebody wants to hear while an image is fetched. */
export type PullEvent = (type: "Normal" | "Warning", reason: string, message: string) => void;

/** An image that a Pod wants on the node. */
export interface ImageWish {
  /** The Pod and image: each backs off alone. */
  readonly owner: string;
  readonly image: string;
  readonly policy: string | undefined;
  readonly runtimeHandler: string;
  /** The Pod's own credentials, tried first; asked for only when they matter. */
  readonly podCredentials: (signal: AbortSignal) => Promise<readonly SourcedAuth[]>;
  /** What the node's own files and its providers know. */
  readonly nodeCredentials: (signal: AbortSignal) => Promise<readonly SourcedAuth[]>;
  /** The Pod's service account as the API has it now; undefined when it has none, or nobody can tell. */
  readonly account: (signal: AbortSignal) => Promise<SourceMark | undefined>;
  readonly tell: PullEvent;
  /** A pull begins; what this returns is called at its end. */
  readonly began?: () => (failed: boolean) => void;
}

/** A pull that goes on. */
export interface RunningPull {
  /** Wall time at which bytes could begin to flow; undefined while it waits for its turn. */
  readonly sinceMs: number | undefined;
  /** undefined where the runtime does not tell. */
  readonly progress: PullProgress | undefined;
}

interface SharedPull {
  readonly image: string;
  readonly ended: Promise<Pulled>;
  readonly listeners: Set<(progress: PullProgress) => void>;
  state: RunningPull;
}

interface Pulled {
  readonly ref: string;
  /** Which of the credentials were let in; 0 when there are none. */
  readonly place: number;
  /** Without the wait for its turn. */
  readonly tookMs: number;
}

/** Makes images present, by pull policy, several at a time, each only once at the same time. */
export class ImagePuller {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #slots: PullSlots;
  readonly #records: PullRecords;
  readonly #running = new Map<string, SharedPull>();
  readonly #failures = new Map<string, number>();

  constructor(runtime: Runtime, clock: Clock, limits: PullLimits, records: PullRecords) {
    this.#runtime = runtime;
    this.#clock = clock;
    this.#records = records;
    this.#slots = new PullSlots(limits, clock);
  }

  /** @returns the image, or how it failed and when to ask again. Never throws but for the signal. */
  async ensure(wish: ImageWish, signal: AbortSignal): Promise<ImageState> {
    const { owner, image, tell } = wish;
    const invalid = invalidImage(image);
    if (invalid !== undefined) {
      const message = `Failed to apply default image tag "${image}": ${invalid}`;
      tell("Warning", "InspectFailed", message);
      return failed("InvalidImageName", message, this.#clock.now() + retryMs);
    }
    let present: ImageStatus | undefined;
    try {
      present = await this.#runtime.imageStatus(image, signal);
    } catch (cause) {
      signal.throwIfAborted();
      const message = `Failed to inspect image "${image}": ${errorText(cause)}`;
      tell("Warning", "InspectFailed", message);
      return failed("ImageInspectError", message, this.#clock.now() + retryMs);
    }
    const rule = pullPolicyOf(image, wish.policy);
    if (
      present !== undefined &&
      rule !== "Always" &&
      (await this.#records.mayUse(
        image,
        present.id,
        () => wish.podCredentials(signal),
        () => wish.account(signal),
      ))
    ) {
      tell("Normal", "Pulled", `Container image "${image}" already present on machine`);
      this.#failures.delete(owner);
      return { state: "present", ref: present.id, user: present.user };
    }
    if (rule === "Never") {
      const message =
        present === undefined
          ? `Container image "${image}" is not present with pull policy of Never`
          : `Container image "${image}" is present with pull policy of Never, but was pulled with credentials that this Pod does not have`;
      tell("Warning", "ErrImageNeverPull", message);
      return failed("ErrImageNeverPull", message, this.#clock.now() + retryMs);
    }
    return this.#pull(wish, signal);
  }

  /** How far the pull of an image is; undefined when there is none. */
  running(image: string): RunningPull | undefined {
    return [...this.#running.values()].find((one) => one.image === image)?.state;
  }

  /** Forgets the back-off of what starts with this owner. */
  forget(prefix: string): void {
    for (const owner of this.#failures.keys()) if (owner.startsWith(prefix)) this.#failures.delete(owner);
  }

  async #pull(wish: ImageWish, signal: AbortSignal): Promise<ImageState> {
    const { owner, image, tell } = wish;
    tell("Normal", "Pulling", `Pulling image "${image}"`);
    const ended = wish.began?.();
    let isFailed = true;
    const startedMs = this.#clock.monotonicMs();
    const waitedMs = (): number => this.#clock.monotonicMs() - startedMs;
    let progress: PullProgress | undefined;
    const stopTelling = this.#every(progressMs, () =>
      tell("Normal", "Pulling", stillPullingWords(image, waitedMs(), progress)),
    );
    try {
      const credentials = [...(await wish.podCredentials(signal)), ...(await wish.nodeCredentials(signal))];
      const listener = (now: PullProgress): void => {
        progress = now;
      };
      const { ref, tookMs, status } = await this.#recorded(wish, credentials, listener, signal);
      tell("Normal", "Pulled", pulledWords(image, tookMs, waitedMs(), status?.sizeBytes ?? 0));
      this.#failures.delete(owner);
      isFailed = false;
      return { state: "present", ref: status?.id ?? ref, user: status?.user ?? {} };
    } catch (cause) {
      signal.throwIfAborted();
      const { reason, message } = pullFailure(image, errorText(cause));
      const failures = (this.#failures.get(owner) ?? 0) + 1;
      if (this.#failures.has(owner) || this.#failures.size < maxBackoffs) this.#failures.set(owner, failures);
      tell(
        "Warning",
        "Failed",
        reason === "ErrImagePull" ? `Failed to pull image "${image}": ${message}` : message,
      );
      tell("Warning", "Failed", `Error: ${reason}`);
      const failedAtMs = this.#clock.now();
      return { ...failed(reason, message, failedAtMs + backoffMs(failures, backoff)), failedAtMs };
    } finally {
      stopTelling();
      ended?.(isFailed);
    }
  }

  /** A pull that is written down before and after. */
  async #recorded(
    wish: ImageWish,
    credentials: readonly SourcedAuth[],
    listener: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<Pulled & { readonly status: ImageStatus | undefined }> {
    await this.#records.begin(wish.image);
    let came: { readonly imageRef: string; readonly used: SourcedAuth | undefined } | undefined;
    try {
      const auths = credentials.map(({ auth }) => auth);
      const pulled = await this.#shared(wish, auths, listener, signal);
      const status = await this.#runtime.imageStatus(wish.image, signal);
      came = { imageRef: status?.id ?? pulled.ref, used: credentials[pulled.place] };
      return { ...pulled, status };
    } finally {
      await this.#records.end(wish.image, came);
    }
  }

  /** Pods that want the same image with the same credentials at the same time share one pull. */
  async #shared(
    { image, runtimeHandler }: ImageWish,
    auths: readonly ImageAuth[],
    listener: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<Pulled> {
    const key = JSON.stringify([image, runtimeHandler, auths]);
    const shared = this.#running.get(key) ?? this.#begin(key, image, runtimeHandler, auths, signal);
    shared.listeners.add(listener);
    return await shared.ended;
  }

  #begin(
    key: string,
    image: string,
    runtimeHandler: string,
    auths: readonly ImageAuth[],
    signal: AbortSignal,
  ): SharedPull {
    const listeners = new Set<(progress: PullProgress) => void>();
    const progress = (now: PullProgress): void => {
      shared.state = { ...shared.state, progress: now };
      for (const listener of listeners) listener(now);
    };
    const work = async (): Promise<Pulled> => {
      shared.state = { ...shared.state, sinceMs: this.#clock.now() };
      const startedMs = this.#clock.monotonicMs();
      const came = await this.#withEach(image, auths, { runtimeHandler, progress }, signal);
      return { ...came, tookMs: this.#clock.monotonicMs() - startedMs };
    };
    const turn = Promise.withResolvers<Pulled>();
    const shared: SharedPull = {
      image,
      ended: turn.promise.finally(() => this.#running.delete(key)),
      listeners,
      state: { sinceMs: undefined, progress: undefined },
    };
    this.#running.set(key, shared);
    this.#slots.run(work, signal).then(turn.resolve, turn.reject);
    return shared;
  }

  async #withEach(
    image: string,
    auths: readonly ImageAuth[],
    options: PullOptions,
    signal: AbortSignal,
  ): Promise<Pick<Pulled, "ref" | "place">> {
    const causes: unknown[] = [];
    for (const [place, auth] of (auths.length === 0 ? [undefined] : auths).entries()) {
      try {
        const how = auth === undefined ? options : { ...options, auth };
        return { ref: (await this.#runtime.pullImage(image, how, signal)).imageRef, place };
      } catch (cause) {
        signal.throwIfAborted();
        causes.push(cause);
      }
    }
    throw new Error([...new Set(causes.map(errorText))].join("; "), { cause: causes.at(-1) });
  }

  /** Calls back again and again. @returns how to stop it. */
  #every(ms: number, callback: () => void): () => void {
    let cancel = (): void => undefined;
    const next = (): void => {
      cancel = this.#clock.after(ms, () => {
        callback();
        next();
      });
    };
    next();
    return () => cancel();
  }
}

function failed(
  reason: string,
  message: string,
  retryAtMs: number,
): ImageState & { readonly state: "failed" } {
  return { state: "failed", reason, message, retryAtMs };
}

/** What a container shows while it waits for the next pull. */
export function backingOffPull(image: string, failed: ImageState & { readonly state: "failed" }): ImageState {
  if (!isPullFailure(failed.reason)) return failed;
  return {
    ...failed,
    reason: "ImagePullBackOff",
    message: `Back-off pulling image "${image}": ${failed.reason}: ${failed.message}`,
  };
}
