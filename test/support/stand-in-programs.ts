import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Test } from "tap";

/**
 * Programs that stand in for those of the node, found first for as long as the test goes on.
 * @param scripts of /bin/sh.
 * @param only whether the node has no others.
 */
export async function standInPrograms(
  t: Test,
  folder: string,
  scripts: Readonly<Record<string, string>>,
  only = false,
): Promise<void> {
  const bin = path.join(folder, "bin");
  await mkdir(bin);
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(path.join(bin, name), 0o755);
  }
  const before = process.env["PATH"] ?? "";
  process.env["PATH"] = only ? bin : `${bin}:${before}`;
  t.teardown(() => {
    process.env["PATH"] = before;
  });
}
