/**
 * The highest of a driver's versions that is spoken here: those of CSI 1.
 * @param versions as the driver registers them: `1.0.0`, `0.3.0`.
 * @returns undefined when there is none.
 */
export function highestVersion(versions: readonly string[]): string | undefined {
  return versions
    .flatMap((text) => {
      const numbers = /^v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?/.exec(text)?.slice(1).map(Number);
      return numbers?.[0] === 1 ? [{ text, numbers }] : [];
    })
    .toSorted((one, other) => compareNumbers(other.numbers, one.numbers))[0]?.text;
}

/** Whether `one` is lower than `other`; both are results of {@link highestVersion}. */
export function isLowerVersion(one: string, other: string): boolean {
  return compareNumbers(numbersOf(one), numbersOf(other)) < 0;
}

function numbersOf(version: string): readonly number[] {
  return version.replace(/^v/, "").split(".").map(Number);
}

function compareNumbers(one: readonly number[], other: readonly number[]): number {
  for (let place = 0; place < 3; place += 1) {
    const difference = (one[place] || 0) - (other[place] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
