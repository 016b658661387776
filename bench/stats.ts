/** Middle and spread of measurements; for an empty list everything is NaN. */
export interface Spread {
  readonly count: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return {
    count: sorted.length,
    min: at(0),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted.at(-1) ?? Number.NaN,
  };
}

/** `p50 812 ms (min 790, p90 901, n 20)`; from 50 on p99 too, before that it would be the highest. */
export function showSpread(values: readonly number[], unit: string, digits = 0): string {
  const { count, min, p50, p90, p99 } = spread(values);
  const text = (value: number): string => value.toFixed(digits);
  return `p50 ${text(p50)} ${unit} (min ${text(min)}, p90 ${text(p90)}${count < 50 ? "" : `, p99 ${text(p99)}`}, n ${count})`;
}
