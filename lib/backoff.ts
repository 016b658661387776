/** How long to wait before the n-th try, in milliseconds. */
export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Growth from try to try; 2 unless given. */
  readonly factor?: number;
}

/**
 * @param failures tries that have failed so far, 1 or more.
 * @returns milliseconds to wait before the next try.
 */
export function backoffMs(failures: number, policy: BackoffPolicy): number {
  const factor = policy.factor ?? 2;
  return Math.min(policy.maxMs, policy.firstMs * factor ** Math.max(0, failures - 1));
}

/**
 * The same wait spread over [0.5, 1) of itself, so that many clients that failed together do not return together.
 * @param random a number in [0, 1).
 */
export function jittered(ms: number, random: number): number {
  return ms * (0.5 + random / 2);
}
