import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { TestMachine } from "./machine.ts";
import { cache } from "./paths.ts";

/** An image made of programs on this machine; no registry is asked for anything. */
interface ImageRecipe {
  readonly names: readonly string[];
  /** Programs besides busybox, with the libraries they are linked to. */
  readonly programs: readonly string[];
  readonly folders: readonly string[];
  readonly files: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

const recipes: Readonly<Record<string, ImageRecipe>> = {
  busybox: {
    names: ["docker.io/library/busybox:1.36"],
    programs: [],
    folders: ["tmp", "root", "var/run"],
    files: {
      "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
      "etc/group": "root:x:0:\nnobody:x:65534:\n",
    },
    command: ["sh"],
  },
  nginx: {
    names: ["docker.io/library/nginx:1.27", "docker.io/library/nginx:1.28"],
    programs: ["/usr/sbin/nginx"],
    folders: [
      "tmp",
      "root",
      "var/run",
      "run",
      "var/log/nginx",
      "var/lib/nginx",
      "etc/nginx/conf.d",
      "usr/share/nginx/html",
    ],
    files: {
      "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
      "etc/group": "root:x:0:\nnobody:x:65534:\n",
      "etc/nginx/nginx.conf":
        "daemon off; user root; pid /run/nginx.pid; error_log /dev/stderr;\nevents { worker_connections 256; }\nhttp { access_log /dev/stdout; include /etc/nginx/conf.d/*.conf; }\n",
      "etc/nginx/conf.d/default.conf": "server { listen 80; root /usr/share/nginx/html; }\n",
      "usr/share/nginx/html/index.html": "welcome\n",
    },
    command: ["/usr/sbin/nginx"],
  },
  echo: {
    names: ["keelson.test/echo:1"],
    programs: ["/usr/bin/socat", "/usr/bin/curl"],
    folders: ["tmp", "root"],
    files: { "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n" },
    command: ["sh"],
  },
};

/** Loads every test image into the machine's runtime, building what is not cached. */
export async function loadImages(
  machine: TestMachine,
  runtime: "containerd" | "docker",
  names: readonly string[] = Object.keys(recipes),
): Promise<void> {
  for (const name of names) {
    const tar = buildImage(name);
    if (runtime === "docker") await machine.exec(["docker", "load", "-i", tar], { timeoutMs: 120_000 });
    else
      await machine.exec(["ctr", "-a", containerdSocket, "-n", "k8s.io", "images", "import", tar], {
        timeoutMs: 120_000,
      });
  }
}

/** The socket of the containerd that `keelson up` starts. */
export const containerdSocket = "/run/keelson/containerd/containerd.sock";

/** @returns the path of the image as a tar that `docker load` and `ctr images import` read. */
export function buildImage(name: string): string {
  const recipe = recipes[name];
  if (recipe === undefined) throw new Error(`cannot build image "${name}": there is no recipe`);
  const key = createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 12);
  const tar = path.join(cache, "images", `${name}-${key}.tar`);
  if (existsSync(tar)) return tar;
  const work = path.join(cache, "images", `${name}-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  const rootfs = path.join(work, "rootfs");
  fillRoot(rootfs, recipe);
  archive(path.join(work, "layer.tar"), rootfs, ["."]);
  const layer = digest(readFileSync(path.join(work, "layer.tar")));
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    created: "2026-01-01T00:00:00Z",
    config: {
      Cmd: recipe.command,
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      WorkingDir: "/",
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
    history: [{ created: "2026-01-01T00:00:00Z", created_by: "keelson test" }],
  });
  const configName = `${digest(Buffer.from(config))}.json`;
  writeFileSync(path.join(work, configName), config);
  writeFileSync(
    path.join(work, "manifest.json"),
    JSON.stringify([{ Config: configName, RepoTags: recipe.names, Layers: ["layer.tar"] }]),
  );
  archive(`${tar}.${process.pid}`, work, ["manifest.json", configName, "layer.tar"]);
  renameSync(`${tar}.${process.pid}`, tar);
  rmSync(work, { recursive: true, force: true });
  return tar;
}

function fillRoot(rootfs: string, recipe: ImageRecipe): void {
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((file) => existsSync(file));
  if (busybox === undefined)
    throw new Error("cannot build a test image: there is no busybox; apt-get install busybox-static");
  for (const folder of ["bin", "etc", "dev", "proc", "sys", ...recipe.folders])
    mkdirSync(path.join(rootfs, folder), { recursive: true });
  chmodSync(path.join(rootfs, "tmp"), 0o1777);
  copyFileSync(busybox, path.join(rootfs, "bin/busybox"));
  for (const applet of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) {
    if (applet !== "busybox") symlinkSync("busybox", path.join(rootfs, "bin", applet));
  }
  for (const program of recipe.programs) {
    if (!existsSync(program)) throw new Error(`cannot build a test image: there is no "${program}"`);
    for (const file of [program, ...libraries(program)]) {
      const target = path.join(rootfs, file);
      mkdirSync(path.dirname(target), { recursive: true });
      copyFileSync(realpathSync(file), target);
      chmodSync(target, 0o755);
    }
  }
  for (const [file, text] of Object.entries(recipe.files)) {
    mkdirSync(path.dirname(path.join(rootfs, file)), { recursive: true });
    writeFileSync(path.join(rootfs, file), text);
  }
}

function libraries(program: string): readonly string[] {
  const listing = execFileSync("ldd", [program], { encoding: "utf8" });
  return [...listing.matchAll(/(\/\S+)(?= \(0x)/g)].map(([, file = ""]) => file);
}

function archive(tar: string, folder: string, names: readonly string[]): void {
  mkdirSync(path.dirname(tar), { recursive: true });
  execFileSync("tar", [
    "--sort=name",
    "--mtime=2026-01-01",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "-cf",
    tar,
    "-C",
    folder,
    ...names,
  ]);
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
