import type { VolumeMount } from "#api/generated/kubernetes.ts";

/**
 * Whether a mount is read-only with all that is mounted below it (KEP-3857).
 * @param isSupported whether the Pod's runtime handler can do it.
 * @throws Error in the kubelet's words when the mount asks for what cannot be had.
 */
export function recursiveReadOnly(mount: VolumeMount, isSupported: boolean): boolean {
  const { recursiveReadOnly: mode = "Disabled", mountPropagation: propagation = "None", name } = mount;
  if (mode === "Disabled") return false;
  const asked = `volume "${name}" requested recursive read-only mode, but it is`;
  if (mount.readOnly !== true) throw new Error(`${asked} not read-only`);
  if (propagation !== "None") throw new Error(`${asked} not compatible with propagation "${propagation}"`);
  if (mode === "IfPossible") return isSupported;
  if (mode !== "Enabled") throw new Error(`unknown recursive read-only mode "${mode}"`);
  if (!isSupported) throw new Error(`${asked} not supported by the runtime`);
  return true;
}
