import type { PodError, PodStep, StepName } from "../plan/explain/pod-step.ts";

/** Steps of one Pod's start that are kept; a Pod with more containers than that keeps the first. */
const maxSteps = 256;
/** Steps of one Pod that go on at the same time and are known. */
const maxOpen = 128;
const maxErrors = 20;
const maxMessageLength = 1_024;

/** Ends a step. @param failed with an error. */
export type EndStep = (failed?: boolean) => void;

/** What the API said when it last did not take the Pod's status. */
export interface Unwritten {
  readonly sinceMs: number;
  readonly message: string;
}

/**
 * What happened to one Pod lately: the steps of its start until it was ready, what goes on now, and the last errors.
 * Writing to it costs a few assignments and never waits; every part is bounded, the oldest error and the newest step
 * of a long start go first.
 */
export class PodJournal {
  readonly #nowMs: () => number;
  readonly #steps: Mutable<PodStep>[] = [];
  readonly #open = new Set<Mutable<PodStep>>();
  readonly #moments = new Set<string>();
  #errors: PodError[] = [];
  #isClosed = false;
  /** Set while the API does not take the Pod's status. */
  unwritten: Unwritten | undefined;
  /** The container that was made last: the runtime's lists may not have it yet. */
  lastCreated: { readonly id: string; readonly name: string } | undefined;

  /** @param nowMs wall time that never goes back. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The steps of the start, in the order they began. */
  get steps(): readonly PodStep[] {
    return this.#steps;
  }

  /** What goes on now, oldest first. */
  get open(): readonly PodStep[] {
    return [...this.#open];
  }

  /** Newest last. */
  get errors(): readonly PodError[] {
    return this.#errors;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @param isStart whether it is a step of the Pod's start: else it is known only while it goes on. */
  begin(what: StepName, container: string | undefined, isStart: boolean): EndStep {
    const step: Mutable<PodStep> = {
      what,
      container,
      startMs: this.#nowMs(),
      endMs: undefined,
      failed: false,
    };
    if (this.#open.size < maxOpen) this.#open.add(step);
    if (isStart) this.#keep(step);
    return (failed = false) => {
      if (step.endMs !== undefined) return;
      step.endMs = this.#nowMs();
      step.failed = failed;
      this.#open.delete(step);
    };
  }

  /** A moment of the start: only the first of its kind counts. @param atMs now unless given. */
  moment(what: StepName, container?: string, atMs: number = this.#nowMs()): void {
    const key = `${what} ${container ?? ""}`;
    if (this.#isClosed || this.#moments.has(key)) return;
    this.#moments.add(key);
    this.#keep({ what, container, startMs: atMs, endMs: atMs, failed: false });
  }

  /** The start is over: later steps, such as those of a restart, are not part of it. */
  close(): void {
    this.#isClosed = true;
    this.#moments.clear();
  }

  error(reason: string, message: string): void {
    const atMs = this.#nowMs();
    const text = message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)}...` : message;
    const before = this.#errors.find((one) => one.reason === reason && one.message === text);
    this.#errors = [
      ...this.#errors.filter((one) => one !== before),
      {
        firstMs: before?.firstMs ?? atMs,
        lastMs: atMs,
        count: (before?.count ?? 0) + 1,
        reason,
        message: text,
      },
    ].slice(-maxErrors);
  }

  #keep(step: Mutable<PodStep>): void {
    if (!this.#isClosed && this.#steps.length < maxSteps) this.#steps.push(step);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
