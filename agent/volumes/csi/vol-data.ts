import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { isMissing, readIfThere } from "#lib/read-if-there.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** What the agent has to know of a volume to take it down, in the kubelet's file of it. */
export interface VolData {
  readonly driverName: string;
  readonly volumeHandle: string;
  readonly volumeLifecycleMode?: string;
  readonly specVolID?: string;
  readonly nodeName?: string;
  readonly attachmentID?: string;
  readonly seLinuxMountContext?: string;
}

const fileName = "vol_data.json";
/** The file, and the one of which it is made. @see lib/write-file.ts */
const ours = /^(vol_data\.json|\.vol_data\.json\.[0-9a-f]{8})$/;

/** Writes `vol_data.json` as the kubelet does: one line, keys in their order. The directory is there. */
export async function saveVolData(directory: string, data: VolData): Promise<void> {
  const sorted = Object.fromEntries(
    Object.entries(data).toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );
  await writeFileAtomically(path.join(directory, fileName), `${JSON.stringify(sorted)}\n`, 0o644);
}

/**
 * What `vol_data.json` says.
 * @returns undefined when there is none.
 * @throws Error that names the file when it makes no sense.
 */
export async function readVolData(directory: string): Promise<VolData | undefined> {
  const file = path.join(directory, fileName);
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const refuse = (why: string, cause?: unknown): Error =>
    new Error(
      `cannot read the volume data in "${file}": ${why}; take the volume down by hand and remove it`,
      {
        cause,
      },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse("it is not JSON", cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw refuse("it is not an object");
  const fields: Record<string, string> = {};
  for (const [key, field] of Object.entries(value)) {
    if (typeof field !== "string") throw refuse(`"${key}" is not a string`);
    fields[key] = field;
  }
  const { driverName, volumeHandle } = fields;
  if (driverName === undefined || driverName === "") throw refuse("it names no driver");
  if (volumeHandle === undefined || volumeHandle === "") throw refuse("it names no volume");
  return { ...fields, driverName, volumeHandle };
}

/** Removes the file, and what a writer that was killed has left beside it. */
export async function removeVolData(directory: string): Promise<void> {
  const names = await readdir(directory).catch((cause: unknown) => {
    if (isMissing(cause)) return [];
    throw cause;
  });
  for (const name of names) if (ours.test(name)) await rm(path.join(directory, name), { force: true });
}
