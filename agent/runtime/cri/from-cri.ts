import type { ContainerStatus, ImageStatus, SandboxStatus } from "../runtime.ts";
import { signalFromCri, stopSignalAnnotation } from "./stop-signal.ts";
import type { CriContainerStatus, CriImage, CriSandbox } from "./messages.ts";

const nsPerMs = 1_000_000;
const containerStates = ["created", "running", "exited", "unknown"] as const;

/** A sandbox of a list, with what only its status tells. */
export function sandboxFromCri(
  sandbox: CriSandbox,
  more: Pick<SandboxStatus, "ips" | "network">,
): SandboxStatus {
  return {
    id: sandbox.id,
    podName: sandbox.metadata?.name ?? "",
    podNamespace: sandbox.metadata?.namespace ?? "",
    podUid: sandbox.metadata?.uid ?? "",
    attempt: sandbox.metadata?.attempt ?? 0,
    state: sandbox.state === 0 ? "ready" : "not-ready",
    createdAtMs: Math.round(sandbox.createdAt / nsPerMs),
    labels: sandbox.labels,
    annotations: sandbox.annotations,
    runtimeHandler: sandbox.runtimeHandler,
    ...more,
  };
}

/** A container's status; which Pod it is of stands in its labels, as kubelet writes them. */
export function containerFromCri(status: CriContainerStatus, sandboxId: string): ContainerStatus {
  const state = containerStates[status.state] ?? "unknown";
  const stopSignal = signalFromCri(status.stopSignal) ?? status.annotations[stopSignalAnnotation];
  const user = status.user?.linux;
  return {
    id: status.id,
    sandboxId,
    podUid: status.labels["io.kubernetes.pod.uid"] ?? "",
    podName: status.labels["io.kubernetes.pod.name"] ?? "",
    podNamespace: status.labels["io.kubernetes.pod.namespace"] ?? "",
    name: status.metadata?.name ?? "",
    attempt: status.metadata?.attempt ?? 0,
    state,
    createdAtMs: Math.round(status.createdAt / nsPerMs),
    startedAtMs: Math.round(status.startedAt / nsPerMs),
    finishedAtMs: finishedAtMs(status),
    exitCode: status.exitCode,
    signal: 0, // CRI does not tell; 128 + n in the exit code says as much.
    reason: state === "exited" ? reasonOf(status) : status.reason,
    message: status.message,
    image: status.image?.image ?? "",
    imageRef: status.imageRef,
    labels: status.labels,
    annotations: status.annotations,
    logPath: status.logPath,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(user === undefined || user === null ? {} : { user }),
    mounts: status.mounts.map((mount) => ({
      hostPath: mount.hostPath,
      containerPath: mount.containerPath,
      readonly: mount.readonly,
      recursiveReadonly: mount.recursiveReadOnly,
      propagation: mount.propagation === 2 ? "rshared" : mount.propagation === 1 ? "rslave" : "private",
      selinuxRelabel: mount.selinuxRelabel,
      ...(mount.image === null ? {} : { image: mount.image.image }),
      ...(mount.imageSubPath === "" ? {} : { imageSubPath: mount.imageSubPath }),
    })),
  };
}

/** An image as CRI lists it. */
export function imageFromCri(image: CriImage): ImageStatus {
  const user =
    image.uid === null ? (image.username === "" ? {} : { name: image.username }) : { uid: image.uid.value };
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    sizeBytes: image.size,
    user,
    pinned: image.pinned,
  };
}

/** The start is noted by CRI, the end by the shim: a short life can end before it starts. */
function finishedAtMs({ startedAt, finishedAt }: CriContainerStatus): number {
  return finishedAt === 0 ? 0 : Math.round(Math.max(startedAt, finishedAt) / nsPerMs);
}

function reasonOf(status: CriContainerStatus): string {
  if (status.reason !== "") return status.reason;
  return status.exitCode === 0 ? "Completed" : "Error";
}
