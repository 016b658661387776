/** The file is not one of variables; the message names the line. */
export class EnvFileError extends Error {
  override readonly name = "EnvFileError";
}

/**
 * The variables of a file, as a shell would read them; the last one of a name counts.
 * Each is `NAME='value'` with nothing around the `=`; a value may go over several lines, and nothing in it is special.
 * Blank lines and lines that begin with `#` are passed over, as is a comment after a value.
 * @throws {EnvFileError} for everything else.
 * @see KEP-3721
 */
export function parseEnvFile(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const scan = new Scanner(text);
  for (;;) {
    scan.skip(/[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/y);
    if (scan.atEnd) return found;
    scan.skip(/[ \t]*/y);
    const name = scan.take(/[^=\n]*/y);
    if (!scan.skipOne("=") || name === "") throw scan.error("invalid environment variable format");
    if (/\s$/.test(name)) throw scan.error("whitespace before '=' is not allowed");
    if (!scan.skipOne("'")) throw scan.error("value must be enclosed in single quotes");
    const line = scan.line;
    const value = scan.take(/[^']*/y);
    if (!scan.skipOne("'")) throw new EnvFileError(`unclosed single quote at line ${line}`);
    if (!scan.skip(/(?:[ \t]+#[^\n]*|[ \t]*)(?=\r?\n|$)/y))
      throw scan.error("unexpected content after closing quote");
    found.set(name, value);
  }
}

/** A place in a text. Every expression it is given is sticky. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** Counted from 1. */
  get line(): number {
    return this.#text.slice(0, this.#at).split("\n").length;
  }

  /** Goes past as many matches as there are. @returns whether there was one. */
  skip(expression: RegExp): boolean {
    let isFound = false;
    for (;;) {
      const match = this.#match(expression);
      if (match === undefined) return isFound;
      isFound = true;
      if (match === "") return isFound;
      this.#at += match.length;
    }
  }

  skipOne(letter: string): boolean {
    if (this.#text[this.#at] !== letter) return false;
    this.#at += 1;
    return true;
  }

  take(expression: RegExp): string {
    const match = this.#match(expression) ?? "";
    this.#at += match.length;
    return match;
  }

  error(why: string): EnvFileError {
    return new EnvFileError(`${why} at line ${this.line}`);
  }

  #match(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at;
    return expression.exec(this.#text)?.[0];
  }
}
