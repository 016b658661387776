/** Numbers to choose from: `first` to `last`, of which the lowest `band` are kept for who asks by number. */
export interface Numbers {
  readonly first: number;
  readonly last: number;
  readonly band: number;
}

/** The static band of a service range of this many addresses (KEP-3070). */
export function addressBand(size: number): number {
  return Math.min(Math.max(16, Math.floor(size / 16)), 256);
}

/** The static band of this many node ports (KEP-3668). */
export function portBand(size: number): number {
  return size <= 16 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), 128);
}

/**
 * A free number, from above the static band while there is one, then from within it.
 * @param start in [0, 1): where to begin looking, so that a number that was just freed is not given out next.
 * @returns undefined when all are taken.
 */
export function pickNumber(
  numbers: Numbers,
  isTaken: (number: number) => boolean,
  start: number,
): number | undefined {
  const split = Math.min(numbers.first + numbers.band, numbers.last + 1);
  return (
    pickBetween(split, numbers.last, isTaken, start) ?? pickBetween(numbers.first, split - 1, isTaken, start)
  );
}

function pickBetween(
  first: number,
  last: number,
  isTaken: (number: number) => boolean,
  start: number,
): number | undefined {
  const size = last - first + 1;
  if (size <= 0) return undefined;
  const offset = Math.floor(start * size);
  for (let step = 0; step < size; step += 1) {
    const number = first + ((offset + step) % size);
    if (!isTaken(number)) return number;
  }
  return undefined;
}
