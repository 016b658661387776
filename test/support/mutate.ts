/**
 * Makes cases of what a test has: a seed gives the same cases every time. Who uses it says the seed and the case
 * when one fails; `FUZZ_SEED` tries others.
 */

/** Numbers that only look random (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * limit);
  }

  /** One of them. @throws when there is none. */
  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined && choices.length === 0) throw new Error("cannot pick from nothing");
    return choice as T;
  }
}

/** The seed of this run, and one for each case of it. */
export const fuzzSeed: number = Number(process.env["FUZZ_SEED"] ?? 1);

/**
 * Runs cases until one fails or the time is over.
 * @throws with the seed and the number of the case that failed.
 * @returns how many ran.
 */
export async function fuzz(
  cases: number,
  withinMs: number,
  run: (random: Random, index: number) => void | Promise<void>,
): Promise<number> {
  const deadline = performance.now() + withinMs;
  let index = 0;
  for (; index < cases && performance.now() < deadline; index += 1) {
    try {
      await run(new Random(fuzzSeed * 1_000_003 + index), index);
    } catch (cause) {
      throw new Error(`case ${index} of FUZZ_SEED=${fuzzSeed}: ${String(cause)}`, { cause });
    }
  }
  return index;
}

/** Bytes changed in one to four places: bits, cuts, repeats, lengths that lie. */
export function mutateBytes(random: Random, bytes: Uint8Array): Buffer {
  let made = Buffer.from(bytes);
  for (let left = 1 + random.below(4); left > 0; left -= 1) {
    const at = random.below(made.length + 1);
    const end = Math.min(made.length, at + 1 + random.below(16));
    switch (random.below(6)) {
      case 0:
        if (at < made.length) made.writeUInt8((made[at] ?? 0) ^ (1 << random.below(8)), at);
        break;
      case 1:
        made = Buffer.concat([made.subarray(0, at), made.subarray(end)]);
        break;
      case 2:
        made = Buffer.concat([made.subarray(0, end), made.subarray(at, end), made.subarray(end)]);
        break;
      case 3:
        made = made.subarray(0, at);
        break;
      case 4: {
        const noise = Buffer.from(Array.from({ length: 1 + random.below(24) }, () => random.below(256)));
        made = Buffer.concat([made.subarray(0, at), noise, made.subarray(at)]);
        break;
      }
      default: {
        const length = random.pick([0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0xff_ffff, 0x7fff_ffff, 0xffff_ffff]);
        if (at + 4 <= made.length) made.writeUInt32BE(length, at);
      }
    }
  }
  return made;
}

/** Text nobody expects in a name, a number, a path or a time. */
export const oddTexts: readonly string[] = [
  "",
  " ",
  "\0",
  "\n",
  "0",
  "-1",
  "1e999",
  "NaN",
  "Infinity",
  "0x10",
  "9223372036854775808",
  "1.5Gi",
  "-5m",
  "true",
  "null",
  "../../../../etc/passwd",
  "/",
  "//proc/1/root",
  "$(A)",
  "$$(",
  "%s%n",
  "__proto__",
  "constructor",
  "☃ \u{1F600}",
  "\ud800",
  "é".repeat(300),
  "a".repeat(253),
  "a".repeat(70_000),
  "2026-02-30T25:61:61Z",
  "=:;,{}[]\\\"'`",
];

const oddNumbers: readonly number[] = [
  0,
  -0,
  -1,
  1,
  0.5,
  1e-9,
  65_535,
  65_536,
  2_147_483_647,
  2_147_483_648,
  -2_147_483_649,
  Number.MAX_SAFE_INTEGER,
  2 ** 63,
  1e308,
];

/** What JSON can carry, changed in one to three places: types, sizes, nulls, odd texts and numbers, nesting. */
export function mutateValue(random: Random, value: unknown): unknown {
  const holder: Record<string, unknown> = { value: structuredClone(value) };
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const places = placesOf(holder);
    const { parent, key } = random.pick(places);
    Reflect.set(parent, key, mutated(random, Reflect.get(parent, key)));
    if (random.below(6) === 0) Reflect.deleteProperty(parent, key);
  }
  return holder["value"];
}

interface Place {
  readonly parent: object;
  readonly key: string;
}

function placesOf(root: object): readonly Place[] {
  const places: Place[] = [];
  const open: object[] = [root];
  for (let parent = open.pop(); parent !== undefined && places.length < 5_000; parent = open.pop()) {
    for (const [key, child] of Object.entries(parent)) {
      if (parent !== root || key === "value") places.push({ parent, key });
      if (typeof child === "object" && child !== null) open.push(child);
    }
  }
  return places.length > 1 ? places.slice(1) : places; // the whole is seldom worth replacing
}

function mutated(random: Random, value: unknown): unknown {
  switch (random.below(10)) {
    case 0:
      return null;
    case 1:
      return random.pick(oddNumbers);
    case 2:
      return random.pick(oddTexts);
    case 3:
      return random.pick([true, false, [], {}, [[]], [null], { "": null }]);
    case 4:
      return [value];
    case 5:
      return { [random.pick([...oddTexts, "name", "kind"])]: value };
    case 6:
      return nested(value, 1 + random.below(200));
    default:
      return likeBefore(random, value);
  }
}

/** Another of the same type: these go furthest. */
function likeBefore(random: Random, value: unknown): unknown {
  if (typeof value === "string") {
    const at = random.below(value.length + 1);
    const odd = random.pick(oddTexts);
    return random.pick([
      odd,
      value + odd,
      odd + value,
      value.slice(0, at),
      value.slice(0, at) + odd,
      value.toUpperCase(),
    ]);
  }
  if (typeof value === "number") return random.pick([...oddNumbers, value + 1, -value, value * 1_000]);
  if (typeof value === "boolean") return !value;
  if (Array.isArray(value)) {
    const copies = random.pick([0, 2, 3, 100]);
    return Array.from({ length: copies }, () => structuredClone(value))
      .flat()
      .slice(0, 500);
  }
  if (typeof value === "object" && value !== null) {
    const key = random.pick([...Object.keys(value), ...oddTexts, "name"]);
    return { ...value, [key]: random.pick<unknown>([null, "x", 7, {}, [], ...oddTexts]) };
  }
  return random.pick<unknown>([{}, [], "", 0]);
}

function nested(value: unknown, depth: number): unknown {
  let made = value;
  for (let left = depth; left > 0; left -= 1) made = left % 2 === 0 ? [made] : { a: made };
  return made;
}
