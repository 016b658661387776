import type { Container } from "#api/generated/kubernetes.ts";
import { parseEnvFile } from "../plan/env-file.ts";
import type { EnvSources } from "../plan/environment.ts";
import { readWithin } from "../volumes/read-within.ts";
import type { KnownVolume } from "../volumes/volumes.ts";

/** Bytes of a file of variables (KEP-3721). */
const maxBytes = 64 * 1_024;

type Result =
  | { readonly variables: ReadonlyMap<string, string> | undefined }
  /** It could not be read or understood. */
  | { readonly cause: unknown };

/** Reads every file that the container's variables come from, as they are now. What is wrong is told when it is asked for. */
export async function readEnvFiles(
  container: Container,
  volumes: ReadonlyMap<string, KnownVolume>,
): Promise<EnvSources["file"]> {
  const results = new Map<string, Result>();
  for (const { valueFrom } of container.env ?? []) {
    const ref = valueFrom?.fileKeyRef;
    if (ref === undefined || results.has(keyOf(ref.volumeName, ref.path))) continue;
    results.set(keyOf(ref.volumeName, ref.path), await read(ref.volumeName, ref.path, volumes));
  }
  return (volumeName, path) => {
    const result = results.get(keyOf(volumeName, path));
    if (result !== undefined && "cause" in result) throw result.cause;
    return result?.variables;
  };
}

async function read(
  volumeName: string,
  path: string,
  volumes: ReadonlyMap<string, KnownVolume>,
): Promise<Result> {
  try {
    const volume = volumes.get(volumeName);
    if (volume === undefined || volume.mounted.hostPath === "")
      throw new Error(`cannot find the volume "${volumeName}" referenced by FileKeyRef`);
    const bytes = await readWithin(volume.mounted.hostPath, path, maxBytes);
    return { variables: bytes && parseEnvFile(new TextDecoder().decode(bytes)) };
  } catch (cause) {
    return { cause };
  }
}

function keyOf(volumeName: string, path: string): string {
  return `${volumeName}\0${path}`;
}
