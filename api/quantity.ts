/**
 * Kubernetes resource quantities: `100m`, `1.5Gi`, `2e3`.
 * Values are exact: a BigInt count of nano-units, so that `0.1 + 0.2` is `0.3`.
 * @see apimachinery `resource.Quantity`, its serialisation format.
 */
const nano = 1_000_000_000n;
const suffixes: Readonly<Record<string, bigint>> = {
  n: 1n,
  u: 1_000n,
  m: 1_000_000n,
  "": nano,
  k: nano * 1_000n,
  M: nano * 1_000_000n,
  G: nano * 1_000_000_000n,
  T: nano * 1_000_000_000_000n,
  P: nano * 1_000_000_000_000_000n,
  E: nano * 1_000_000_000_000_000_000n,
  Ki: nano * 1_024n,
  Mi: nano * 1_024n ** 2n,
  Gi: nano * 1_024n ** 3n,
  Ti: nano * 1_024n ** 4n,
  Pi: nano * 1_024n ** 5n,
  Ei: nano * 1_024n ** 6n,
};

/**
 * @returns the quantity in nano-units, rounded up as Kubernetes does.
 * @throws {RangeError} when the text is not a quantity.
 */
export function parseQuantity(text: string | number): bigint {
  const match =
    /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/.exec(
      String(text),
    );
  const [, sign = "", whole = "", fraction = "", exponent, suffix = ""] = match ?? [];
  if (match === null || whole + fraction === "") {
    throw new RangeError(
      `quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'; "${text}" does not`,
    );
  }
  const digits = BigInt(whole + fraction) * (suffixes[suffix] ?? nano);
  const power = BigInt(exponent ?? "0") - BigInt(fraction.length);
  const value = power >= 0n ? digits * 10n ** power : ceilDivide(digits, 10n ** -power);
  return sign === "-" ? -value : value;
}

/** Whole units, rounded up: bytes of memory, count of pods. */
export function quantityValue(text: string | number): number {
  return Number(ceilDivide(parseQuantity(text), nano));
}

/** Thousandths, rounded up: CPU. */
export function milliValue(text: string | number): number {
  return Number(ceilDivide(parseQuantity(text), 1_000_000n));
}

/** The shortest decimal form of thousandths: `1500` is `1500m`, `2000` is `2`. */
export function formatMilli(milli: number): string {
  return milli % 1_000 === 0 ? String(milli / 1_000) : `${milli}m`;
}

/** The largest binary suffix that loses nothing: `2147483648` is `2Gi`. */
export function formatBytes(bytes: number): string {
  for (const [suffix, factor] of [
    ["Ti", 1024 ** 4],
    ["Gi", 1024 ** 3],
    ["Mi", 1024 ** 2],
    ["Ki", 1024],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${suffix}`;
  }
  return String(bytes);
}

function ceilDivide(value: bigint, by: bigint): bigint {
  const whole = value / by;
  return value % by > 0n ? whole + 1n : whole;
}
