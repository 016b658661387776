/** The rules of the tree that a compiler does not know: who may import whom, and what is pure. */
import { glob, readFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";

const root = path.join(import.meta.dirname, "..");
const programs = ["agent", "proxy", "overlay", "cni", "control"];
const mayImport: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  api: ["lib"],
  linux: ["lib"],
  ...Object.fromEntries(programs.map((program) => [program, ["api", "linux", "lib"]])),
};
const effects =
  /from "node:(?!net"|path"|util"|crypto"|buffer")|Date\.now|new Date\(\)|Math\.random|process\.|fetch\(|setTimeout|setInterval|\bawait\b|#lib\/(log|clock)\.ts"/;
const sources = await Array.fromAsync(
  glob("{lib,api,linux,agent,proxy,overlay,cni,control}/**/*.ts", {
    cwd: root,
    exclude: ["api/generated/**", "api/generate/**"],
  }),
);
const texts = new Map(
  await Promise.all(
    sources.map(async (file) => [file, await readFile(path.join(root, file), "utf8")] as const),
  ),
);

t.test("each folder imports only what stands below it", async (t) => {
  for (const [file, text] of texts) {
    if (file.endsWith(".test.ts")) continue;
    const folder = file.split("/")[0] ?? "";
    for (const [, target = ""] of text.matchAll(/(?:from|import\() ?"#(\w+)\//g)) {
      if (!(mayImport[folder]?.includes(target) ?? false)) t.fail(`${file} may not import #${target}`);
    }
    for (const specifier of relativeImports(text)) {
      const target = path.join(path.dirname(file), specifier);
      if (target.split("/")[0] !== folder) t.fail(`${file} leaves its folder by "${specifier}"`);
    }
  }
  t.pass(`${texts.size} files read`);
});

t.test("plan/ and model.ts are pure, and borrow no effect through an import", async (t) => {
  const pure = [...texts.keys()].filter(
    (file) => /\/plan\/|\/model\.ts$/.test(file) && !file.endsWith(".test.ts"),
  );
  for (const file of pure) {
    for (const [reached, text] of reachable(file)) {
      const effect = effects.exec(withoutComments(text))?.[0];
      if (effect !== undefined) t.fail(`${file} is not pure: ${reached} has "${effect}"`);
    }
  }
  t.ok(
    pure.length > 0 || sources.every((file) => !programs.includes(file.split("/")[0] ?? "")),
    `${pure.length} pure files`,
  );
});

t.test(
  "a package is not loaded lazily by itself: in the bundle one of CommonJS has no names then",
  async (t) => {
    // These two are modules, and looked at in the bundle.
    const asModules = new Set(["reflect-metadata", "@peculiar/x509"]);
    for (const [file, text] of texts) {
      if (file.endsWith(".test.ts")) continue;
      for (const [, specifier = ""] of withoutComments(text).matchAll(/await import\(\s*"([^"]+)"/g)) {
        if (/^(?:[.#]|node:)/.test(specifier) || asModules.has(specifier)) continue;
        t.fail(`${file} loads "${specifier}": load a file of ours that imports it`);
      }
    }
    t.pass();
  },
);

t.test("names of files are kebab-case and imports name the file", async (t) => {
  for (const [file, text] of texts) {
    if (!/^[a-z0-9-]+(\.test)?\.ts$/.test(path.basename(file))) t.fail(`${file} is not in kebab-case`);
    for (const specifier of relativeImports(text)) {
      if (!/\.(ts|json|js)$/.test(specifier)) t.fail(`${file} imports "${specifier}" without its ending`);
    }
  }
  t.pass(`${texts.size} files read`);
});

/** The file and every file of ours that it imports for more than types. */
function reachable(start: string): Map<string, string> {
  const seen = new Map<string, string>();
  const open = [start];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const text = texts.get(file);
    if (text === undefined || seen.has(file)) continue;
    seen.set(file, text);
    for (const [, clause = "", specifier = ""] of text.matchAll(
      /import ((?:(?!from)[\s\S])*?) from "([^"]+)"/g,
    )) {
      if (/^type\b/.test(clause) || isOnlyTypes(clause)) continue;
      if (specifier.startsWith(".")) open.push(path.join(path.dirname(file), specifier));
      if (specifier.startsWith("#")) open.push(specifier.slice(1));
    }
  }
  return seen;
}

function isOnlyTypes(clause: string): boolean {
  const names = /^\{([\s\S]*)\}$/
    .exec(clause.trim())?.[1]
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  return names !== undefined && names.every((name) => name.startsWith("type "));
}

function relativeImports(text: string): string[] {
  return [...withoutComments(text).matchAll(/(?:from|import\(|import) ?"(\.[^"]+)"/g)].map(
    ([, specifier = ""]) => specifier,
  );
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}
