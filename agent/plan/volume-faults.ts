/** A volume that is not there yet. `name` is the kubelet's: the PersistentVolume's name where it is known. */
export interface VolumeFault {
  readonly volume: string;
  readonly name: string;
  readonly stage: "process" | "attach" | "mount" | "wait";
  readonly message: string;
  /** The step that failed, for stage `mount`; `MountVolume.SetUp` unless given. */
  readonly operation?: string;
}

/** How long a Pod's volumes are waited for before the Pod is told which are missing. */
export const volumesLimitMs = 123_000;

/** The FailedMount events that these faults ask for now, in the kubelet's words. */
export function volumeFaultMessages(faults: readonly VolumeFault[], isTimeUp: boolean): readonly string[] {
  const processing = faults.filter(({ stage }) => stage === "process");
  const mounting = faults
    .filter(({ stage }) => stage === "mount")
    .map(
      ({ name, message, operation = "MountVolume.SetUp" }) =>
        `${operation} failed for volume "${name}" : ${message}`,
    );
  if (processing.length === 0 && !isTimeUp) return mounting;
  const why =
    processing.length > 0 ? processing.map(({ message }) => message).join("; ") : "context deadline exceeded";
  const unattached = faults.filter(({ stage }) => stage === "attach");
  return [
    ...mounting,
    `Unable to attach or mount volumes: unmounted volumes=${names(faults)}, unattached volumes=${names(unattached)}, ` +
      `failed to process volumes=${names(processing)}: ${why}`,
  ];
}

/** The reason of the event that says it. */
export function volumeFaultReason(message: string): "FailedMapVolume" | "FailedMount" {
  return message.startsWith("MapVolume.") ? "FailedMapVolume" : "FailedMount";
}

function names(faults: readonly VolumeFault[]): string {
  return `[${faults
    .map(({ volume }) => volume)
    .toSorted()
    .join(" ")}]`;
}
