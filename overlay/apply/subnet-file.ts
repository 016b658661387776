import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { renderSubnetEnv, type SubnetEnv } from "../plan/subnet-env.ts";

/** Writes `subnet.env` whole or not at all, and not when it says the same already. */
export async function writeSubnetFile(file: string, env: SubnetEnv): Promise<void> {
  const text = renderSubnetEnv(env);
  if ((await readSubnetFile(file)) === text) return;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(`${file}.tmp`, text, { mode: 0o644 });
  await rename(`${file}.tmp`, file);
}

/** "" when there is none. */
export async function readSubnetFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return "";
  }
}
