import type { Pod } from "#api/generated/kubernetes.ts";

/** Puts together what the sources of static Pods say. Nobody may clean up before each of them has spoken. */
export class StaticSources {
  readonly #found = new Map<string, readonly Pod[]>();
  readonly #names: readonly string[];
  readonly #changed: (pods: readonly Pod[], completes: boolean) => void;

  /**
   * @param names the sources that there are.
   * @param changed given all static Pods each time one of the sources spoke; `completes` when it was the last one
   *   that had not spoken yet.
   */
  constructor(names: readonly string[], changed: (pods: readonly Pod[], completes: boolean) => void) {
    this.#names = names;
    this.#changed = changed;
  }

  /** True when every source has spoken at least once. */
  get complete(): boolean {
    return this.#names.every((name) => this.#found.has(name));
  }

  /** A source gives all its Pods as they are now. */
  tell(name: string, pods: readonly Pod[]): void {
    const before = this.complete;
    this.#found.set(name, pods);
    this.#changed([...this.#found.values()].flat(), this.complete && !before);
  }
}
