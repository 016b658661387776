import type { CSIDriver, Pod, SELinuxOptions } from "#api/generated/kubernetes.ts";
import { containersOf } from "../../../plan/containers-of.ts";
import type { CsiVolume } from "./csi-volume.ts";

/**
 * The SELinux label that a volume is mounted with as a whole, so that nobody has to label its files one by one.
 * Only where all of it is sure: SELinux is on, the driver can, no other Pod can have the volume, and the Pod says
 * its level, for one that the runtime chooses is not known before.
 * @param volumeName its name in the Pod.
 * @param fileLabel the node's own label of containers' files, `user:role:type:level`; undefined without SELinux.
 * @returns undefined when it is not mounted so.
 * @throws Error when containers want different labels.
 * @see KEP-1710
 */
export function mountLabel(
  pod: Pod,
  volumeName: string,
  volume: CsiVolume,
  object: CSIDriver | undefined,
  fileLabel: string | undefined,
): string | undefined {
  const own = pod.spec?.securityContext;
  const isAlone = volume.accessModes.length === 1 && volume.accessModes[0] === "ReadWriteOncePod";
  if (fileLabel === undefined || object?.spec.seLinuxMount !== true) return undefined;
  if (volume.lifecycle === "Ephemeral" || !isAlone || own?.seLinuxChangePolicy === "Recursive")
    return undefined;
  const users = containersOf(pod).filter(({ container }) =>
    (container.volumeMounts ?? []).some(({ name }) => name === volumeName),
  );
  const labels = new Set(
    users.map(({ container }) =>
      labelOf(container.securityContext?.seLinuxOptions ?? own?.seLinuxOptions, fileLabel),
    ),
  );
  if (labels.size > 1)
    throw new Error(`multiple SELinux labels found: ${[...labels].map((label) => label ?? "").join(",")}`);
  return [...labels][0];
}

/** The mount option of a label. Its level has commas, hence the quotes. */
export function labelOption(label: string): string {
  return `context="${label}"`;
}

/** A process's options as the label of its files: user and level are shared, role and type are the files' own. */
function labelOf(options: SELinuxOptions | undefined, fileLabel: string): string | undefined {
  const { user = "", level = "" } = options ?? {};
  if (level === "") return undefined;
  const [fileUser = "", role = "", type = ""] = fileLabel.split(":");
  return [user === "" ? fileUser : user, role, type, level].join(":");
}
