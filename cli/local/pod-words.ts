import { UsageError } from "#lib/flags.ts";

/** Which Pod a person means. */
export interface PodWords {
  readonly name: string;
  /** undefined when none was said. */
  readonly namespace: string | undefined;
}

/** Flags and the other words of a command line; `-o`, `-n` and `-c` stand for their long forms. */
export function splitWords(
  args: readonly string[],
  shorts: Readonly<Record<string, string>>,
  switches: readonly string[],
): { readonly words: readonly string[]; readonly flags: readonly string[] } {
  const words: string[] = [];
  const flags: string[] = [];
  for (let place = 0; place < args.length; place += 1) {
    const arg = args[place] ?? "";
    const [, short = "", glued = ""] = /^-([a-zA-Z])=?(.*)$/s.exec(arg) ?? [];
    const long = shorts[short];
    const value = args[place + 1];
    if (long !== undefined) {
      flags.push(long, ...(glued === "" ? (value === undefined ? [] : [value]) : [glued]));
      if (glued === "") place += 1;
    } else if (arg.startsWith("-")) {
      flags.push(arg);
      if (arg.includes("=") || switches.includes(arg) || value === undefined) continue;
      flags.push(value);
      place += 1;
    } else words.push(arg);
  }
  return { words, flags };
}

/**
 * Reads `pod NAME`, `pod/NAME`, `pod NAMESPACE/NAME`, or only the name where nothing but Pods can be meant.
 * @param namespace of `-n`; "" when it was not given.
 * @throws {UsageError} that says how to write it.
 */
export function podWords(
  program: string,
  words: readonly string[],
  namespace: string,
  isKindNeeded: boolean,
): PodWords {
  const usage = `${program} ${isKindNeeded ? "pod " : ""}NAMESPACE/NAME`;
  const [first = "", ...others] = words.flatMap((word, place) =>
    place === 0 && /^(pods?|po)\//.test(word) ? ["pod", word.slice(word.indexOf("/") + 1)] : [word],
  );
  const isKind = ["pod", "pods", "po"].includes(first);
  if (isKindNeeded && !isKind)
    throw new UsageError(
      `${program}: ${first === "" ? "say what to explain" : `"${first}" cannot be explained`}; want ${usage}`,
    );
  const [text = "", ...more] = isKind && (isKindNeeded || others.length > 0) ? others : [first, ...others];
  if (text === "") throw new UsageError(`${program}: which Pod? want ${usage}`);
  if (more.length > 0) throw new UsageError(`${program}: "${more[0]}" is one word too many; want ${usage}`);
  const [before = "", after, ...rest] = text.split("/");
  if (rest.length > 0 || before === "" || after === "")
    throw new UsageError(`${program}: "${text}" is no Pod; want ${usage}`);
  if (after === undefined) return { name: before, namespace: namespace === "" ? undefined : namespace };
  if (namespace !== "" && namespace !== before)
    throw new UsageError(`${program}: "${text}" and the namespace "${namespace}" cannot both be meant`);
  return { name: after, namespace: before };
}
