import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { unmountBelow } from "#linux/mount.ts";
import { mountImageContent } from "./image-content.ts";

const skip = process.getuid?.() !== 0 && "needs root";

/** Layers as Docker's driver overlay2 keeps them, the first on top. @returns the topmost one's directory. */
async function layers(root: string, ...files: readonly Readonly<Record<string, string>>[]): Promise<string> {
  const links = files.map((_, place) => `LINK${place}`);
  await mkdir(path.join(root, "l"), { recursive: true });
  for (const [place, content] of files.entries()) {
    const layer = path.join(root, `layer-${place}`);
    await mkdir(path.join(layer, "diff"), { recursive: true });
    for (const [name, text] of Object.entries(content)) await writeFile(path.join(layer, "diff", name), text);
    await writeFile(path.join(layer, "link"), links[place] ?? "");
    await symlink(`../layer-${place}/diff`, path.join(root, "l", links[place] ?? ""));
    const below = links.slice(place + 1).map((link) => `l/${link}`);
    if (below.length > 0) await writeFile(path.join(layer, "lower"), below.join(":"));
  }
  return path.join(root, "layer-0/diff");
}

async function folderOf(t: Test): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "image-"));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

t.test(
  "VO16: an image of Docker's is shown with its layers over each other, to be read only",
  { skip },
  async (t) => {
    const folder = await folderOf(t);
    const program = "#!/bin/sh\necho ran\n";
    const top = await layers(
      `${folder}/overlay2`,
      { both: "top" },
      { both: "middle", program },
      { base: "base" },
    );
    await chmod(`${folder}/overlay2/layer-1/diff/program`, 0o755);
    const place = `${folder}/place`;
    await mountImageContent("image", top, place);
    t.equal(await readFile(`${place}/both`, "utf8"), "top");
    t.equal(await readFile(`${place}/base`, "utf8"), "base");
    await t.rejects(writeFile(`${place}/new`, ""), { code: "EROFS" });
    await t.rejects(promisify(execFile)(`${place}/program`), { code: "EACCES" }, "nothing in it runs");
    await mountImageContent("image", top, place);
    const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
    t.equal(mounts.filter((line) => line.includes(` ${place} `)).length, 1, "what is mounted stays");
  },
);

t.test(
  "VO16: an image of one layer is read-only too, and one that is elsewhere is told",
  { skip },
  async (t) => {
    const folder = await folderOf(t);
    const top = await layers(`${folder}/overlay2`, { only: "one" });
    await mountImageContent("image", top, `${folder}/place`);
    t.equal(await readFile(`${folder}/place/only`, "utf8"), "one");
    await t.rejects(writeFile(`${folder}/place/new`, ""), { code: "EROFS" });
    await t.rejects(mountImageContent("image", `${folder}/none/diff`, `${folder}/other`), {
      code: "unsupported",
      message: /its layers are not at/,
    });
    const many = await layers(`${folder}/many`, ...Array.from({ length: 300 }, () => ({})));
    await t.rejects(mountImageContent("image", many, `${folder}/other`), {
      message: /300 layers are too many/,
    });
  },
);
