import type { CsiVolume } from "./plan/csi-volume.ts";

/**
 * Which volumes this agent has staged, so that each is staged once for all its Pods. Of those that an earlier
 * agent staged it knows nothing: staging again what is staged does no harm.
 */
export class StagedVolumes {
  readonly #keys = new Set<string>();

  has({ driver, handle }: Pick<CsiVolume, "driver" | "handle">): boolean {
    return this.#keys.has(`${driver}^${handle}`);
  }

  add({ driver, handle }: Pick<CsiVolume, "driver" | "handle">): void {
    this.#keys.add(`${driver}^${handle}`);
  }

  /** It is unstaged, or on the way there. */
  delete(driver: string, handle: string): void {
    this.#keys.delete(`${driver}^${handle}`);
  }
}
