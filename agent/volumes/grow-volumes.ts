import type { ApiClient } from "#api/client.ts";
import { persistentVolumeClaims, persistentVolumes } from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { growthMark, growthOf, grownPatch } from "../plan/claim-growth.ts";
import { InfeasibleGrowth } from "./volume-plugin.ts";
import type { KnownVolume } from "./volumes.ts";

/** What growing volumes needs. */
export interface GrowPorts {
  readonly client: ApiClient | undefined;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Every volume that is set up, by the Pods' uids and the volumes' names. */
  readonly volumes: () => Iterable<readonly [string, ReadonlyMap<string, KnownVolume>]>;
  readonly event: (
    podUid: string,
    type: "Normal" | "Warning",
    reason: "FileSystemResizeSuccessful" | "VolumeResizeFailed",
    message: string,
  ) => void;
}

/** Time between two looks at the claims of volumes that are in use. */
const lookMs = 30_000;

/** Makes volumes in use as large as their PersistentVolumes have become, until the signal. */
export async function growVolumes(ports: GrowPorts, signal: AbortSignal): Promise<void> {
  const said = new Map<string, string>();
  while (!signal.aborted) {
    await growPass(ports, said, signal);
    await ports.clock.sleep(lookMs, signal).catch(() => undefined);
  }
}

/** @param said what was told of each volume that could not be grown; told once for as long as it is the same. */
export async function growPass(
  ports: GrowPorts,
  said: Map<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const { client, log, nodeName } = ports;
  if (client === undefined) return;
  for (const [podUid, known] of ports.volumes()) {
    for (const one of known.values()) {
      if (signal.aborted) return;
      const { name } = one.place;
      const key = `${podUid}/${name}`;
      try {
        if (!(await grow(client, one, signal))) continue;
        said.delete(key);
        const words = `MountVolume.NodeExpandVolume succeeded for volume "${name}" ${nodeName}`;
        ports.event(podUid, "Normal", "FileSystemResizeSuccessful", words);
      } catch (cause) {
        if (signal.aborted) return;
        const words = `NodeExpandVolume.NodeExpandVolume failed for volume "${name}" : ${errorText(cause)}`;
        if (said.get(key) === words) continue;
        said.set(key, words);
        log.warn("cannot grow a volume", { podUid, volume: name, cause: errorText(cause) });
        // That the API does not answer is no news of the volume.
        if (cause instanceof GrowthError) ports.event(podUid, "Warning", "VolumeResizeFailed", words);
      }
    }
  }
}

/** The volume could not be made larger. */
class GrowthError extends Error {
  override readonly name = "GrowthError";
}

/** @returns whether it has grown. */
async function grow(
  client: ApiClient,
  { plugin, source, place, mounted, isBlock, readOnly }: KnownVolume,
  signal: AbortSignal,
): Promise<boolean> {
  if (plugin.grow === undefined || source.from === "pod" || readOnly) return false;
  const { namespace, name } = source.claim;
  const claim = await client.get(persistentVolumeClaims, { namespace, name }, signal);
  const volumeName = source.volume.metadata?.name ?? "";
  if (claim.metadata?.uid !== source.claim.uid || claim.spec?.volumeName !== volumeName) return false;
  const volume = await client.get(persistentVolumes, { namespace: "", name: volumeName }, signal);
  const bytes = growthOf(claim, volume);
  if (bytes === undefined) return false;
  const write = async (patch: object | undefined): Promise<void> => {
    const place = { namespace, name };
    if (patch !== undefined)
      await client.patch(persistentVolumeClaims, place, "merge", patch, { subresource: "status" }, signal);
  };
  await write(growthMark(claim, "NodeResizeInProgress"));
  try {
    if (!(await plugin.grow({ volume, place, mounted, isBlock, bytes }, signal))) return false;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof InfeasibleGrowth) await write(growthMark(claim, "NodeResizeInfeasible"));
    throw new GrowthError(errorText(cause), { cause });
  }
  await write(grownPatch(claim, volume));
  return true;
}
