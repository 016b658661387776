import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Test } from "tap";

/**
 * Compares a text with the file of that name beside this one. `UPDATE=1` writes the file instead: the change is
 * then read in the diff.
 */
export function matchGolden(t: Test, name: string, text: string): void {
  const file = path.join(import.meta.dirname, name);
  if (process.env["UPDATE"] === "1") writeFileSync(file, text);
  t.equal(existsSync(file) ? readFileSync(file, "utf8") : `no file ${name}: run with UPDATE=1`, text);
}

/** True where kernel checkers can run. */
export const isRoot: boolean = process.getuid?.() === 0;
