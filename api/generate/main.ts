/**
 * Generates `api/generated/` from the devDependency `@kubernetes/client-node` (API 1.36):
 * `kubernetes.ts` holds the wire types, `schema.json` the field tables with their descriptions.
 *
 * The output is not committed: it is derived, large, and rebuilt in a second by `npm run generate`.
 */
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Model, parseModel } from "./parse-model.ts";
import { renderTypes } from "./render-types.ts";

const root = path.join(import.meta.dirname, "../..");
const source = path.join(root, "node_modules/@kubernetes/client-node/dist/gen/models");
const target = path.join(root, "api/generated");

if (await isUpToDate()) process.exit(0);

const models = new Map<string, Model>();
for (const file of (await readdir(source)).filter((name) => name.endsWith(".d.ts")).sort()) {
  const declaration = await readFile(path.join(source, file), "utf8");
  const code = await readFile(path.join(source, file.replace(/\.d\.ts$/, ".js")), "utf8");
  const model = parseModel(declaration, code);
  if (model !== undefined) models.set(model.name, model);
}
await mkdir(target, { recursive: true });
await write("kubernetes.ts", renderTypes(models));
await write(
  "schema.json",
  JSON.stringify({
    apiVersion: "1.36",
    models: Object.fromEntries([...models].map(([name, m]) => [name, m])),
  }),
);

/** Written beside the target and renamed, so that a reader never sees half a file. */
async function write(name: string, text: string): Promise<void> {
  const file = path.join(target, name);
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}

/** The output is newer than the installed package and than this generator. */
async function isUpToDate(): Promise<boolean> {
  try {
    const output = Math.min(
      (await stat(path.join(target, "kubernetes.ts"))).mtimeMs,
      (await stat(path.join(target, "schema.json"))).mtimeMs,
    );
    const inputs = [
      path.join(source, "V1Pod.js"),
      ...["main.ts", "parse-model.ts", "render-types.ts"].map((file) => path.join(import.meta.dirname, file)),
    ];
    const times = await Promise.all(inputs.map(async (file) => (await stat(file)).ctimeMs));
    return times.every((time) => time < output);
  } catch {
    return false;
  }
}
