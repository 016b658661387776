/**
 * Builds what is installed: `dist/keelson.mjs` (with chunks that are loaded when needed), `dist/plugin.cjs`
 * for the CNI plugin, whose start time counts in every Pod's, and `dist/keelson`, the launcher.
 */
import { chmod, glob, mkdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const root = path.join(import.meta.dirname, "..");
const dist = path.join(root, "dist");
const outputs = ["keelson", "keelson.mjs", "plugin.cjs"].map((name) => path.join(dist, name));

if (!process.argv.includes("--force") && (await isUpToDate())) process.exit(0);
await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const common: BuildOptions = {
  bundle: true,
  platform: "node",
  format: "esm",
  // Where a package has both, its ES module: a lazily imported CommonJS one would have no named exports.
  mainFields: ["module", "main"],
  target: "node24",
  outExtension: { ".js": ".mjs" },
  // koffi loads a native library beside its own files; ssh2 and cpu-features are only for Docker over ssh.
  external: ["koffi", "ssh2", "cpu-features"],
  logLevel: "warning",
  minifySyntax: true,
  minifyWhitespace: true,
  outdir: dist,
};
await build({
  ...common,
  entryPoints: { keelson: path.join(root, "cli/entry.ts") },
  splitting: true,
  banner: {
    js: 'import { createRequire as createRequire_ } from "node:module"; const require = createRequire_(import.meta.url);',
  },
  chunkNames: "chunks/[name]-[hash]",
});
// CommonJS, and koffi's library without koffi's own loader: a tenth less time for every call.
await build({
  ...common,
  format: "cjs",
  outExtension: { ".js": ".cjs" },
  plugins: [koffiLibrary()],
  entryPoints: { plugin: path.join(root, "cni/plugin-entry.ts") },
});
await writeFile(path.join(dist, "keelson"), launcher());
await chmod(path.join(dist, "keelson"), 0o755);

/**
 * Takes koffi's library for glibc, which our Node is built for, straight from its package: koffi's loader looks at
 * Node's ELF header for it, and wraps what it had deprecated.
 */
function koffiLibrary(): Plugin {
  // In a variable: a path in the call would be looked for now.
  const contents = `
    const cpu = process.arch === "arm64" ? "arm64" : "x64";
    const file = "../node_modules/@koromix/koffi-linux-" + cpu + "/linux_" + cpu + "/koffi.node";
    module.exports = require(file);`;
  return {
    name: "koffi-library",
    setup: (build) => {
      build.onResolve({ filter: /^koffi$/ }, ({ path }) => ({ path, namespace: "koffi-library" }));
      build.onLoad({ filter: /^koffi$/, namespace: "koffi-library" }, () => ({ contents }));
    },
  };
}

/** Small pages and few threads: one process serves a node, and its idle size is a promise (docs/benchmarks.md). */
function launcher(): string {
  return `#!/bin/sh
# The flags keep the process small: docs/decisions/0004-one-process-per-node.md.
here=$(dirname "$(readlink -f "$0")")
case "$(uname -m)" in aarch64) cpu=arm64 ;; *) cpu=x64 ;; esac
export UV_THREADPOOL_SIZE="\${UV_THREADPOOL_SIZE:-6}" MALLOC_ARENA_MAX="\${MALLOC_ARENA_MAX:-1}"
exec "$here/../node_modules/node-linux-$cpu/bin/node" --max-semi-space-size=2 --v8-pool-size=1 "$here/keelson.mjs" "$@"
`;
}

async function isUpToDate(): Promise<boolean> {
  try {
    const built = Math.min(...(await Promise.all(outputs.map(async (file) => (await stat(file)).mtimeMs))));
    for await (const file of glob("{lib,api,linux,agent,proxy,overlay,cni,control,cli}/**/*.{ts,json}", {
      cwd: root,
    })) {
      if (!file.endsWith(".test.ts") && (await stat(path.join(root, file))).mtimeMs > built) return false;
    }
    return (await stat(path.join(root, "package-lock.json"))).mtimeMs < built;
  } catch {
    return false;
  }
}
