import { open } from "node:fs/promises";
import type { Test } from "tap";
import { run } from "./run-command.ts";

/** A block device of so many MiB on a file, for a test. */
export async function loopDevice(t: Test, file: string, mebi: number): Promise<string> {
  const disk = await open(file, "w");
  await disk.truncate(mebi * 1_048_576);
  await disk.close();
  const device = (await run("losetup", "--find", "--show", file)).trim();
  t.teardown(async () => void (await run("losetup", "--detach", device)));
  return device;
}
