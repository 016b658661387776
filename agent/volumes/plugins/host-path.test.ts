import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmod, lstat, mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import t from "tap";
import { mountFolder, needsRoot as skip, volumeRequest } from "../volume-fixture.ts";
import { hostPathPlugin } from "./host-path.ts";
import { prepareHostPath } from "./prepare-host-path.ts";

const { signal } = new AbortController();

t.test("VO5: each type of a hostPath takes its own kind, and refuses the others", { skip }, async (t) => {
  const folder = await mountFolder(t);
  await mkdir(`${folder}/Directory`);
  await writeFile(`${folder}/File`, "content");
  const server = createServer().listen(`${folder}/Socket`);
  t.teardown(() => server.close());
  await once(server, "listening");
  execFileSync("mknod", [`${folder}/CharDevice`, "c", "1", "3"]);
  execFileSync("mknod", [`${folder}/BlockDevice`, "b", "7", "0"]);
  execFileSync("mkfifo", [`${folder}/fifo`]);
  const words: Readonly<Record<string, string>> = {
    Directory: "a directory",
    File: "a file",
    Socket: "a socket file",
    CharDevice: "a character device",
    BlockDevice: "a block device",
  };
  for (const [type, word] of Object.entries(words)) {
    for (const name of [...Object.keys(words), "fifo", "nothing"]) {
      const path = `${folder}/${name}`;
      const one = { hostPath: { path, type } };
      const setUp = hostPathPlugin.setUp(volumeRequest(folder, hostPathPlugin, one), signal);
      if (name === type) t.same(await setUp, { hostPath: path }, `${type} takes itself`);
      else
        await t.rejects(
          setUp,
          { message: `hostPath type check failed: ${path} is not ${word}` },
          `${type} refuses ${name}`,
        );
    }
    await symlink(`${folder}/${type}`, `${folder}/${type}-link`);
    await prepareHostPath({ path: `${folder}/${type}-link`, type });
  }
  await t.rejects(prepareHostPath({ path: folder, type: "Tape" }), {
    message: "Tape is an invalid volume type",
  });
});

t.test("VO5: the OrCreate types make what is missing, and leave what is there", { skip }, async (t) => {
  const folder = await mountFolder(t);
  await prepareHostPath({ path: `${folder}/made/deep`, type: "DirectoryOrCreate" });
  t.equal((await stat(`${folder}/made/deep`)).mode & 0o777, 0o755);
  await prepareHostPath({ path: `${folder}/made/file`, type: "FileOrCreate" });
  t.equal((await stat(`${folder}/made/file`)).mode & 0o777, 0o644);
  await chmod(`${folder}/made/deep`, 0o700);
  await writeFile(`${folder}/made/file`, "kept");
  await prepareHostPath({ path: `${folder}/made/deep`, type: "DirectoryOrCreate" });
  await prepareHostPath({ path: `${folder}/made/file`, type: "FileOrCreate" });
  t.equal((await stat(`${folder}/made/deep`)).mode & 0o777, 0o700);
  t.equal(await readFile(`${folder}/made/file`, "utf8"), "kept");
  await t.rejects(prepareHostPath({ path: `${folder}/made/file`, type: "DirectoryOrCreate" }), {
    message: `hostPath type check failed: ${folder}/made/file is not a directory`,
  });
  await t.rejects(prepareHostPath({ path: `${folder}/made/deep`, type: "FileOrCreate" }), {
    message: `hostPath type check failed: ${folder}/made/deep is not a file`,
  });
  await t.rejects(prepareHostPath({ path: `${folder}/none/file`, type: "FileOrCreate" }), { code: "ENOENT" });
  await prepareHostPath({ path: `${folder}/none` });
  await t.rejects(lstat(`${folder}/none`), { code: "ENOENT" }, "without a type nothing is looked at");
});
