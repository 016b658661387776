import { parseArgs } from "node:util";

/** One setting: its flag, how its text is read, its default, and what it means. */
export interface Flag<T> {
  /** Without the dashes: `node-name`. */
  readonly flag: string;
  /** Reads the text; throws an Error that says what a good value looks like. */
  readonly parse: (text: string) => T;
  /** As it would be typed. Without a default the flag is required. */
  readonly default?: string;
  /** True for a switch that takes no value: `--wait`, `--no-wait`. */
  readonly switch?: boolean;
  readonly help: string;
  /** What stands for the value in `--help`. */
  readonly value?: string;
}

/** A program's settings: a field without a flag stops compiling. */
export type Flags<C> = { readonly [K in keyof C]: Flag<C[K]> };

/** Wrong words on the command line; the program exits with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads a command line.
 * @param program for messages: `keelson proxy`.
 * @param env variables that stand in for flags, with a prefix: `FLANNELD_ETCD_PREFIX` for `--etcd-prefix`.
 * @throws {UsageError} for an unknown flag, a missing value, a value that does not parse, or a word left over.
 */
export function parseFlags<C>(
  program: string,
  flags: Flags<C>,
  args: readonly string[],
  env?: { readonly prefix: string; readonly variables: Readonly<Record<string, string | undefined>> },
): C {
  const texts = readTexts(program, flags, args);
  const config: Partial<C> = {};
  for (const key of keysOf(flags)) {
    const flag = flags[key];
    const variable = env && `${env.prefix}${flag.flag.replaceAll("-", "_").toUpperCase()}`;
    const text =
      texts.get(flag.flag) ?? (variable === undefined ? undefined : env?.variables[variable]) ?? flag.default;
    if (text === undefined) {
      throw new UsageError(`cannot start ${program}: --${flag.flag} is missing; it says ${flag.help}`);
    }
    try {
      config[key] = flag.parse(text);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new UsageError(`cannot start ${program}: --${flag.flag}="${text}": ${why}`, { cause });
    }
  }
  return config as C; // every key of `flags` was set above, and `Flags<C>` has every key of C
}

/** The settings as `--help` shows them. */
export function renderFlags<C>(flags: Flags<C>): string {
  const rows = keysOf(flags).map((key) => {
    const flag = flags[key];
    const left = flag.switch === true ? `--${flag.flag}` : `--${flag.flag} ${flag.value ?? "VALUE"}`;
    const standard =
      flag.default === undefined ? "(required)" : flag.default === "" ? "" : `(default ${flag.default})`;
    return [left, `${flag.help} ${standard}`.trim()] as const;
  });
  const width = Math.min(38, Math.max(...rows.map(([left]) => left.length), 0));
  return rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`).join("\n");
}

/** Any text. */
export const text = (value: string): string => value;

/** `true` or `false`. */
export function bool(value: string): boolean {
  if (value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw new Error(`want "true" or "false"`);
}

/** A whole number, not negative. */
export function integer(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new Error(`want a whole number such as "10"`);
  return Number(value);
}

/** A port number, 0 to 65535. */
export function port(value: string): number {
  const number = integer(value);
  if (number > 65_535) throw new Error("want a port from 0 to 65535");
  return number;
}

/** A list separated by commas; "" is the empty list. */
export function list(value: string): readonly string[] {
  return value === "" ? [] : value.split(",").map((item) => item.trim());
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): (value: string) => T {
  return (value) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new Error(`want one of ${words.map((w) => `"${w}"`).join(", ")}`);
    return word;
  };
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A duration as Go writes it (`1m30s`, `250ms`); in milliseconds. */
export function duration(value: string): number {
  if (value === "0") return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value))
    throw new Error(`want a duration such as "30s", "250ms" or "1h30m"`);
  let total = 0;
  for (const [, amount = "0", , unit = "ms"] of value.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * (unitMs[unit] ?? 1);
  }
  return total;
}

function keysOf<C>(flags: Flags<C>): (keyof C)[] {
  return Object.keys(flags) as (keyof C)[];
}

function readTexts<C>(program: string, flags: Flags<C>, args: readonly string[]): Map<string, string> {
  const byName = new Map(keysOf(flags).map((key) => [flags[key].flag, flags[key]]));
  const { tokens } = parseArgs({
    args: args.map((arg) => (/^-[a-zA-Z-]{2,}/.test(arg) && !arg.startsWith("--") ? `-${arg}` : arg)), // `-etcd-prefix`, as flannel's flags are written
    options: Object.fromEntries(
      [...byName].map(([name, flag]) => [
        name,
        { type: flag.switch === true ? "boolean" : "string" } as const,
      ]),
    ),
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const texts = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      throw new UsageError(
        `cannot start ${program}: "${token.value}" is one word too many; see ${program} --help`,
      );
    }
    const negated = token.name.startsWith("no-") && !byName.has(token.name);
    const flag = byName.get(negated ? token.name.slice(3) : token.name);
    if (flag === undefined || (negated && flag.switch !== true)) {
      throw new UsageError(`cannot start ${program}: unknown flag --${token.name}; see ${program} --help`);
    }
    if (flag.switch === true) texts.set(flag.flag, negated ? "false" : (token.value ?? "true"));
    else if (token.value === undefined)
      throw new UsageError(`cannot start ${program}: --${flag.flag} needs a value; it says ${flag.help}`);
    else texts.set(flag.flag, token.value);
  }
  return texts;
}
