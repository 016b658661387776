import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { writeFileAtomically } from "#lib/write-file.ts";
import { renderSubnetEnv, type SubnetEnv } from "../plan/subnet-env.ts";

/** Writes `subnet.env` whole or not at all, and not when it says the same already. */
export async function writeSubnetFile(file: string, env: SubnetEnv): Promise<void> {
  const text = renderSubnetEnv(env);
  if ((await readSubnetFile(file)) === text) return;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFileAtomically(file, text, 0o644);
}

/** "" when there is none. */
export async function readSubnetFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return "";
  }
}
