import { ApiError } from "../api-error.ts";

/** How many requests may run at once, as Kubernetes limits them without priority and fairness. */
const readLimit = 400;
const writeLimit = 200;

/** Counts requests that run; the one too many is refused with 429. Streams are not counted. */
export class InFlight {
  #reads = 0;
  #writes = 0;

  /** @returns what gives the place back. @throws {ApiError} 429. */
  enter(verb: string): () => void {
    const write = !["get", "list", "watch"].includes(verb);
    if (write ? this.#writes >= writeLimit : this.#reads >= readLimit)
      throw new ApiError(
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
        {
          retryAfterSeconds: 1,
        },
      );
    if (write) this.#writes += 1;
    else this.#reads += 1;
    return () => {
      if (write) this.#writes -= 1;
      else this.#reads -= 1;
    };
  }
}
