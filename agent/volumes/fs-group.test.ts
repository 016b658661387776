import { execFileSync } from "node:child_process";
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock } from "#lib/clock.ts";
import { MS, mount } from "#linux/libc.ts";
import { bindMount, unmountBelow } from "#linux/mount.ts";
import { applyFsGroup, type FsGroup } from "./fs-group.ts";
import { swapping } from "./swap-fixture.ts";

const skip = process.getuid?.() !== 0 && "needs root";
const { signal } = new AbortController();
const group: FsGroup = { group: 4_242, policy: "Always", readOnly: false };

async function scene(t: Test): Promise<string> {
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "fs-group-")));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

/** `gid mode`, the mode in octal. */
async function rights(file: string): Promise<string> {
  const { gid, mode } = await lstat(file);
  return `${gid} ${(mode & 0o7777).toString(8)}`;
}

t.test("VO13: a volume is given to its group, with the bits of the kubelet", { skip }, async (t) => {
  const folder = await scene(t);
  const volume = path.join(folder, "volume");
  await mkdir(path.join(volume, "dir/deep"), { recursive: true });
  const files = { plain: 0o600, none: 0, run: 0o711, setuid: 0o4755, both: 0o4775, "dir/deep/file": 0o640 };
  for (const [name, mode] of Object.entries(files)) {
    await writeFile(path.join(volume, name), name);
    await chmod(path.join(volume, name), mode);
  }
  const odd = Buffer.concat([Buffer.from(`${volume}/`), Buffer.from([0xff, 0xfe])]);
  await writeFile(odd, "a name that is not UTF-8");
  execFileSync("mkfifo", ["-m", "600", path.join(volume, "fifo")]);
  await chmod(path.join(volume, "dir"), 0o1700);
  await chmod(volume, 0o755);
  await applyFsGroup(volume, group, signal);
  const found = Object.fromEntries(
    await Promise.all(
      ["", "dir", "dir/deep", "fifo", ...Object.keys(files)].map(
        async (name) => [name, await rights(path.join(volume, name))] as const,
      ),
    ),
  );
  t.same(found, {
    "": "4242 2775",
    dir: "4242 3770",
    "dir/deep": "4242 2775",
    "dir/deep/file": "4242 660",
    fifo: "4242 660",
    plain: "4242 660",
    none: "4242 660",
    run: "4242 771",
    setuid: "4242 4775",
    both: "4242 4775",
  });
  t.equal((await lstat(odd)).gid, 4_242);

  await applyFsGroup(volume, { ...group, group: 7, readOnly: true }, signal);
  t.equal(await rights(path.join(volume, "plain")), "7 660", "bits are only added");
  await chmod(path.join(volume, "plain"), 0o400);
  await chmod(path.join(volume, "dir"), 0o500);
  await applyFsGroup(volume, { ...group, group: 7, readOnly: true }, signal);
  t.equal(await rights(path.join(volume, "plain")), "7 440", "a read-only volume is read only");
  t.equal(await rights(path.join(volume, "dir")), "7 2550");
});

t.test("VO13: OnRootMismatch looks at the top, and Always at everything", { skip }, async (t) => {
  const folder = await scene(t);
  const volume = path.join(folder, "volume");
  await mkdir(volume);
  const file = path.join(volume, "file");
  const cases: readonly { name: string; gid: number; mode: number; readOnly?: boolean; walked: boolean }[] = [
    { name: "all is right", gid: 4_242, mode: 0o2770, walked: false },
    { name: "more than is wanted", gid: 4_242, mode: 0o3777, walked: false },
    { name: "another group", gid: 0, mode: 0o2770, walked: true },
    { name: "no setgid", gid: 4_242, mode: 0o770, walked: true },
    { name: "the owner may not write", gid: 4_242, mode: 0o2570, walked: true },
    { name: "the group may not search", gid: 4_242, mode: 0o2760, walked: true },
    { name: "read-only needs no write bit", gid: 4_242, mode: 0o2550, readOnly: true, walked: false },
  ];
  for (const { name, gid, mode, readOnly = false, walked } of cases) {
    await writeFile(file, "");
    await chown(file, 0, 0);
    await chown(volume, 0, gid);
    await chmod(volume, mode);
    await applyFsGroup(volume, { ...group, policy: "OnRootMismatch", readOnly }, signal);
    t.equal((await lstat(file)).gid === 4_242, walked, name);
  }
  await chown(file, 0, 0);
  await applyFsGroup(volume, group, signal);
  t.equal((await lstat(file)).gid, 4_242);
});

t.test("VO13: a walk that fails names the place and leaves the top for the next one", { skip }, async (t) => {
  const folder = await scene(t);
  const volume = path.join(folder, "volume");
  await mkdir(path.join(volume, "a/kept"), { recursive: true });
  await mkdir(path.join(volume, "b"));
  bindMount(path.join(volume, "a/kept"), path.join(volume, "a/kept"));
  mount("", path.join(volume, "a/kept"), "", MS.bind | MS.remount | MS.rdonly);
  const policy = "OnRootMismatch";
  await t.rejects(applyFsGroup(volume, { ...group, policy }, signal), {
    message: 'cannot give "a/kept" of the volume to group 4242: EROFS',
  });
  t.equal((await lstat(volume)).gid, 0);
  await unmountBelow(volume);
  await applyFsGroup(volume, { ...group, policy }, signal);
  t.equal((await lstat(path.join(volume, "a/kept"))).gid, 4_242);
  t.equal((await lstat(volume)).gid, 4_242);
  await t.rejects(applyFsGroup(volume, group, AbortSignal.abort()), { name: "AbortError" });
});

t.test("VO13: no link leads out of the volume", { skip, timeout: 60_000 }, async (t) => {
  const folder = await scene(t);
  const [volume, outside] = [path.join(folder, "volume"), path.join(folder, "outside")];
  await mkdir(path.join(outside, "dir"), { recursive: true });
  await writeFile(path.join(outside, "file"), "secret", { mode: 0o600 });
  await writeFile(path.join(outside, "dir/file"), "secret", { mode: 0o600 });
  await mkdir(path.join(volume, "x/dir"), { recursive: true });
  for (const name of ["file", "dir/file", "other"]) await writeFile(path.join(volume, "x", name), "");
  await symlink(outside, path.join(volume, "y"));
  await symlink(path.join(outside, "file"), path.join(volume, "link"));
  await link(path.join(volume, "x/other"), path.join(volume, "hard"));
  await applyFsGroup(volume, group, signal);
  t.match(await rights(path.join(volume, "link")), /^4242 /, "the link itself has the group");
  t.equal(await rights(path.join(volume, "hard")), "4242 664", "both names of one file are that file");
  const untouched = async (): Promise<readonly string[]> =>
    await Promise.all(["", "dir", "file", "dir/file"].map((name) => rights(path.join(outside, name))));
  const before = await untouched();
  t.notMatch(before.join(), "4242");

  await using _ = await swapping(path.join(volume, "x"), path.join(volume, "y"));
  const deadline = Date.now() + 10_000;
  for (let turn = 1; turn <= 500 && Date.now() < deadline; turn += 1) {
    const gid = 5_000 + turn;
    await applyFsGroup(volume, { ...group, group: gid }, signal);
    if ((await untouched()).join() !== before.join()) {
      t.fail(`the walk left the volume in turn ${turn}`);
      return;
    }
  }
  t.pass("nothing outside was touched");
});

t.test("VO13: a large volume is walked whole, in little memory", { skip, timeout: 60_000 }, async (t) => {
  const folder = await scene(t);
  for (let index = 0; index < 40; index += 1) {
    const directory = path.join(folder, String(index));
    await mkdir(directory);
    await Promise.all(
      Array.from({ length: 50 }, (_, name) => writeFile(path.join(directory, String(name)), "")),
    );
  }
  await applyFsGroup(folder, group, signal);
  const all = await readdir(folder, { recursive: true });
  t.equal(all.length, 40 * 51);
  const wrong = [];
  for (const name of all) if ((await lstat(path.join(folder, name))).gid !== 4_242) wrong.push(name);
  t.same(wrong, []);
  const open = (await readdir("/proc/self/fd")).length;
  const clock = new FakeClock();
  const said: string[] = [];
  const slow = { clock, volume: "u1/volumes/data", say: (message: string) => said.push(message) };
  const walking = applyFsGroup(folder, { ...group, group: 4_243, slow }, signal);
  await clock.advance(150_000);
  await walking;
  t.match(said, [
    /^Setting volume ownership for u1\/volumes\/data is taking longer than expected, consider using OnRootMismatch - https:/,
    /^Setting volume ownership for u1\/volumes\/data, processed \d+ files\.$/,
    /^Setting volume ownership for u1\/volumes\/data, processed \d+ files\.$/,
  ]);
  await clock.advance(150_000);
  t.equal(said.length, 3, "nothing is said after its end");
  t.equal((await readdir("/proc/self/fd")).length, open, "no descriptor is left");
});
