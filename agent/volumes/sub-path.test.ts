import {
  access,
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { errorText } from "#lib/log.ts";
import { MS, mount } from "#linux/libc.ts";
import { bindMount, mountPoints, unmountBelow } from "#linux/mount.ts";
import { run } from "../../test/support/run-command.ts";
import { bindSubPath } from "./sub-path.ts";
import { swapping } from "./swap-fixture.ts";

const skip = process.getuid?.() !== 0 && "needs root";

/** A folder with a volume, a place outside of it, and what the attacks want to reach there. */
async function scene(t: Test): Promise<{ readonly folder: string; readonly volume: string }> {
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "sub-path-")));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  const volume = path.join(folder, "volume");
  await mkdir(path.join(volume, "in/deep"), { recursive: true });
  await writeFile(path.join(volume, "in/file"), "inside");
  await mkdir(path.join(folder, "outside"));
  await writeFile(path.join(folder, "outside/file"), "secret");
  return { folder, volume };
}

t.test("VO11: a subPath never leads out of its volume", { skip }, async (t) => {
  const { folder, volume } = await scene(t);
  const outside = path.join(folder, "outside");
  const refused: readonly {
    readonly name: string;
    readonly subPath: string;
    readonly make?: () => Promise<void>;
    readonly why: string;
  }[] = [
    {
      name: "a link to a file outside",
      subPath: "a",
      make: () => symlink(`${outside}/file`, `${volume}/a`),
      why: 'subPath "a" leads out of the volume',
    },
    {
      name: "a link in a parent",
      subPath: "b/file",
      make: () => symlink("../outside", `${volume}/b`),
      why: 'subPath "b/file" leads out of the volume',
    },
    {
      name: "a link to /",
      subPath: "c/etc/passwd",
      make: () => symlink("/", `${volume}/c`),
      why: 'subPath "c/etc/passwd" leads out of the volume',
    },
    {
      name: "a link through another",
      subPath: "d/file",
      make: async () => {
        await symlink("in/e", `${volume}/d`);
        await symlink("../../outside", `${volume}/in/e`);
      },
      why: 'subPath "d/file" leads out of the volume',
    },
    {
      name: "a link to what is not there",
      subPath: "f/new",
      make: () => symlink("../outside/new", `${volume}/f`),
      why: '"f" became a link while subPath "f/new" was opened',
    },
    {
      name: "a link to a neighbour whose name begins the same",
      subPath: "g",
      make: async () => {
        await mkdir(`${volume}-2`);
        await symlink(`${volume}-2`, `${volume}/g`);
      },
      why: 'subPath "g" leads out of the volume',
    },
    { name: "above", subPath: "..", why: "subPath \"..\" must not contain '..'" },
    { name: "above, later", subPath: "in/../../outside", why: "must not contain '..'" },
    {
      name: "below a file",
      subPath: "in/file/x",
      why: '"in/file" is not a directory, as subPath "in/file/x" wants it',
    },
    {
      name: "a loop of links",
      subPath: "l/x",
      make: () => symlink("l", `${volume}/l`),
      why: '"l" became a link while subPath "l/x" was opened',
    },
  ];
  for (const [index, { name, subPath, make, why }] of refused.entries()) {
    await make?.();
    const target = path.join(folder, "target", String(index));
    const cause = await bindSubPath(volume, subPath, target).then(() => undefined, errorText);
    t.ok(cause?.includes(why), `${name}: ${cause}`);
    t.notMatch(cause ?? "", /\/proc|outside\/|fd/, `${name}: nothing of the node is told`);
    await t.rejects(lstat(target), { code: "ENOENT" }, `${name}: nothing is made`);
  }
  t.same(await readdir(outside), ["file"], "nothing was made outside");
});

t.test(
  "VO11: a subPath inside of its volume is bound, and made where there is nothing",
  { skip },
  async (t) => {
    const { folder, volume } = await scene(t);
    const at = (name: string): string => path.join(folder, "targets", name);
    await symlink("in", path.join(volume, "link"));
    await symlink(path.join(volume, "in"), path.join(volume, "absolute"));
    await bindSubPath(volume, "link/file", at("a"));
    t.equal(await readFile(at("a"), "utf8"), "inside", "a file, by a link that stays inside");
    await bindSubPath(volume, "absolute/./deep/", at("b"));
    t.ok((await stat(at("b"))).isDirectory(), "an absolute link that stays inside");
    await bindSubPath(volume, "/in", at("c"));
    t.same(await readdir(at("c")), ["deep", "file"], "a slash at the front means the volume's own");
    await run("mkfifo", path.join(volume, "fifo"));
    await bindSubPath(volume, "fifo", at("d"));
    t.ok((await stat(at("d"))).isFIFO(), "a FIFO is bound without waiting for its other end");

    await chmod(volume, 0o2777);
    await bindSubPath(volume, "new/deep", at("e"));
    for (const made of ["new", "new/deep"]) {
      const { mode } = await stat(path.join(volume, made));
      t.equal(mode & 0o7777, 0o2777, `${made} is made as the volume is`);
    }
    await bindSubPath(path.join(volume, "in/file"), "", at("f"));
    t.equal(await readFile(at("f"), "utf8"), "inside", "a volume that is a file");
    await t.rejects(bindSubPath(path.join(volume, "in/file"), "x", at("g")), {
      message: 'the volume is not a directory, as subPath "x" wants it',
    });
  },
);

t.test(
  "VO11: a volume that is read-only gives what is there, and says so of the rest",
  { skip },
  async (t) => {
    const { folder, volume } = await scene(t);
    bindMount(volume, volume);
    mount("", volume, "", MS.bind | MS.remount | MS.rdonly);
    await bindSubPath(volume, "in/file", path.join(folder, "a"));
    t.equal(await readFile(path.join(folder, "a"), "utf8"), "inside");
    await t.rejects(writeFile(path.join(folder, "a"), "x"), { code: "EROFS" });
    await t.rejects(bindSubPath(volume, "new/deep", path.join(folder, "b")), {
      message: 'cannot open "new" for subPath "new/deep": EROFS',
    });
  },
);

t.test(
  "VO11: a second run keeps what is bound, and binds anew what has been replaced",
  { skip },
  async (t) => {
    const { folder, volume } = await scene(t);
    const target = path.join(folder, "targets/0");
    const mounts = async (): Promise<number> => (await mountPoints()).filter((one) => one === target).length;
    await bindSubPath(volume, "in", target);
    await bindSubPath(volume, "in", target);
    t.equal(await mounts(), 1, "bound once");
    await rm(path.join(volume, "in"), { recursive: true });
    await writeFile(path.join(volume, "in"), "a file now");
    await bindSubPath(volume, "in", target);
    t.equal(await readFile(target, "utf8"), "a file now");
    t.equal(await mounts(), 1);
    await unmountBelow(target); // as after the machine has started anew: the places are there, the mounts are not
    await rm(path.join(volume, "in"));
    await bindSubPath(volume, "in", target);
    t.ok((await stat(target)).isDirectory());
  },
);

for (const { name, subPath } of [
  { name: "the last name", subPath: "x" },
  { name: "a parent", subPath: "x/file" },
])
  t.test(
    `VO11: ${name}, exchanged for a link meanwhile, never leads out`,
    { skip, timeout: 60_000 },
    async (t) => {
      const { folder, volume } = await scene(t);
      await symlink(path.join(folder, "outside"), path.join(volume, "y"));
      await mkdir(path.join(volume, "x"));
      await writeFile(path.join(volume, "x/file"), "inside");
      const seen = { inside: 0, refused: 0, raced: 0 };
      const deadline = Date.now() + 30_000;
      const target = path.join(folder, "target");
      await using _ = await swapping(path.join(volume, "x"), path.join(volume, "y"));
      for (let tries = 0; Date.now() < deadline; tries += 1) {
        const cause = await bindSubPath(volume, subPath, target).then(() => undefined, errorText);
        if (cause === undefined) {
          const point = (await mountPoints()).filter((one) => one.startsWith(target));
          t.same(point, [target]);
          // As the runtime does: by the path, with links followed.
          const file = subPath === "x" ? path.join(target, "file") : target;
          if ((await readFile(file, "utf8")) !== "inside") {
            t.fail(`reached the outside at try ${tries}`);
            break;
          }
          seen.inside += 1;
          await unmountBelow(target);
          await rm(target, { recursive: true });
        } else if (/became a link/.test(cause ?? "")) seen.raced += 1;
        else seen.refused += 1;
        if (tries >= 300 && seen.inside > 0 && seen.raced > 0 && seen.refused > 0) break;
      }
      t.ok(seen.inside > 0 && seen.raced > 0, `both ends of the race were seen: ${JSON.stringify(seen)}`);
      await access(path.join(folder, "outside/file"));
    },
  );
