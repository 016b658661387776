/** What an event of a runtime is about: something runs, lost a process for want of memory, has ended, or is no more. */
export type Change = "started" | "hurt" | "ended" | "removed";

/** Ids that are remembered of each kind; a change that is forgotten only costs a look at its Pod. */
const limit = 4_096;

/**
 * The changes that this process makes by calls of its own. Whoever makes one looks at the Pod afterwards, so that the
 * event tells nothing new: following it would double the work of every start and every end.
 */
export class OwnChanges {
  readonly #ids: Readonly<Record<Change, Set<string>>> = {
    started: new Set(),
    hurt: new Set(),
    ended: new Set(),
    removed: new Set(),
  };
  #making = 0;

  /** Told before the call, because the event may be here before the answer. */
  expect(change: Change, id: string): void {
    const ids = this.#ids[change];
    ids.delete(id);
    ids.add(id);
    const [oldest] = ids;
    if (ids.size > limit && oldest !== undefined) ids.delete(oldest);
  }

  /** While `work` makes something its id is not known yet; what appears meanwhile may be it. */
  async making<T>(work: () => Promise<T>): Promise<T> {
    this.#making += 1;
    try {
      return await work();
    } finally {
      this.#making -= 1;
    }
  }

  /**
   * Whether an event says what a call of ours brings about.
   * @param isKnown whether the id has been seen, in a list or as the answer of a call.
   */
  explains(change: Change, id: string, isKnown: boolean): boolean {
    if (this.#ids[change].delete(id)) return true;
    // Who never saw it has nothing to look at once it is gone.
    return !isKnown && (change === "removed" || (change === "started" && this.#making > 0));
  }
}
