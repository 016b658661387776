import { execFileSync } from "node:child_process";
import t from "tap";
import { parseEnvFile } from "./env-file.ts";

const good: readonly {
  readonly name: string;
  readonly text: string;
  readonly want: Readonly<Record<string, string>>;
}[] = [
  { name: "nothing", text: "", want: {} },
  { name: "one variable without a line end", text: "A='1'", want: { A: "1" } },
  {
    name: "blank lines, comments and leading space",
    text: "# x\n\n  \t\n  A='1'\n\t# y\n\tB='2'\n",
    want: { A: "1", B: "2" },
  },
  { name: "an empty value", text: "A=''\n", want: { A: "" } },
  { name: "spaces in a value", text: "A='  a  b '\n", want: { A: "  a  b " } },
  {
    name: "signs that mean something to shells",
    text: "A='$HOME ${B} `x` \\n \"q\" # no = ; &'\n",
    want: { A: '$HOME ${B} `x` \\n "q" # no = ; &' },
  },
  {
    name: "a value of many lines",
    text: "A='one\n\n  # two\nB=3'\nC='4'\n",
    want: { A: "one\n\n  # two\nB=3", C: "4" },
  },
  { name: "a comment after a value", text: "A='1' # x 'y'\nB='2'   \n", want: { A: "1", B: "2" } },
  { name: "letters of everywhere", text: "A='中文 Ελλάδα 🌍'\n", want: { A: "中文 Ελλάδα 🌍" } },
  { name: "a name twice", text: "A='1'\nA='2'\n", want: { A: "2" } },
];
for (const { name, text, want } of good) {
  t.test(`EN1: a file of variables is read: ${name}`, async (t) => {
    t.same(Object.fromEntries(parseEnvFile(text)), want);
    for (const [key, value] of Object.entries(want)) {
      const shell = `set -a; eval "$FILE"; printf %s "\${${key}}"`;
      t.equal(
        execFileSync("/bin/sh", ["-c", shell], { env: { FILE: text }, encoding: "utf8" }),
        value,
        "as a shell does",
      );
    }
  });
}

const bad: readonly { readonly name: string; readonly text: string; readonly why: string }[] = [
  { name: "no name", text: "A='1'\n='2'\n", why: "invalid environment variable format at line 2" },
  {
    name: "no equals sign",
    text: "A='1'\nWORD\nB='2'\n",
    why: "invalid environment variable format at line 2",
  },
  {
    name: "space before the equals sign",
    text: "A ='1'\n",
    why: "whitespace before '=' is not allowed at line 1",
  },
  { name: "space after it", text: "A= '1'\n", why: "value must be enclosed in single quotes at line 1" },
  { name: "no quotes", text: "A='1'\nB=2\n", why: "value must be enclosed in single quotes at line 2" },
  { name: "double quotes", text: 'A="1"\n', why: "value must be enclosed in single quotes at line 1" },
  {
    name: "two values side by side",
    text: "A='1''2'\n",
    why: "unexpected content after closing quote at line 1",
  },
  {
    name: "words after the value",
    text: "A='1\n2'b\n",
    why: "unexpected content after closing quote at line 2",
  },
  {
    name: "a comment that touches the value",
    text: "A='1'#b\n",
    why: "unexpected content after closing quote at line 1",
  },
  { name: "a quote that is never closed", text: "A='1'\nB='2\n", why: "unclosed single quote at line 2" },
];
for (const { name, text, why } of bad) {
  t.test(`EN1: a file of variables is refused: ${name}`, async (t) => {
    t.throws(() => parseEnvFile(text), { name: "EnvFileError", message: why });
  });
}
