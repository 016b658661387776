import type { ContainerInfo, ContainerInspectInfo, ImageInspectInfo } from "dockerode";
import type { ContainerStatus, ImageStatus, SandboxStatus } from "../runtime.ts";
import { dockerLabel, fromDockerLabels } from "./labels.ts";
import { parseName } from "./names.ts";

/** A sandbox of Docker's list. @param ips what the network gave it. */
export function sandboxFromDocker(info: ContainerInfo, ips: readonly string[]): SandboxStatus {
  const { Labels: labels } = info;
  const ready = info.State === "running";
  const network = info.HostConfig.NetworkMode === "host" ? "node" : "pod";
  return {
    id: info.Id,
    podName: labels[dockerLabel.podName] ?? "",
    podNamespace: labels[dockerLabel.podNamespace] ?? "",
    podUid: labels[dockerLabel.podUid] ?? "",
    attempt: parseName(info.Names[0] ?? "")?.attempt ?? 0,
    state: ready ? "ready" : "not-ready",
    createdAtMs: info.Created * 1_000,
    ips: ready && network === "pod" ? ips : [],
    network,
    runtimeHandler: labels[dockerLabel.runtimeHandler] ?? "",
    ...fromDockerLabels(labels),
  };
}

/** A container's status. @param image what the container runs, when it is still there. */
export function containerFromDocker(
  info: ContainerInspectInfo,
  image: ImageStatus | undefined,
): ContainerStatus {
  const { Labels: labels } = info.Config;
  const { state, reason } = stateOf(info);
  const digest = image?.repoDigests[0];
  return {
    id: info.Id,
    sandboxId: labels[dockerLabel.sandboxId] ?? "",
    podUid: labels[dockerLabel.podUid] ?? "",
    podName: labels[dockerLabel.podName] ?? "",
    podNamespace: labels[dockerLabel.podNamespace] ?? "",
    name: labels[dockerLabel.container] ?? "",
    attempt: parseName(info.Name)?.attempt ?? 0,
    state,
    createdAtMs: timeOf(info.Created),
    startedAtMs: timeOf(info.State.StartedAt),
    // Docker notes the start itself and takes the end from containerd: a short life can end before it starts.
    finishedAtMs:
      state === "exited" ? Math.max(timeOf(info.State.FinishedAt), timeOf(info.State.StartedAt)) : 0,
    exitCode: state === "exited" ? info.State.ExitCode : 0,
    signal: 0,
    reason,
    message: info.State.Error,
    image: image?.repoTags[0] ?? info.Config.Image,
    imageRef: digest === undefined ? `docker://${info.Image}` : `docker-pullable://${digest}`,
    logPath: labels[dockerLabel.logPath] ?? "",
    ...stopSignalOf(info.Config),
    mounts: info.Mounts.map((mount) => ({
      hostPath: mount.Source,
      containerPath: mount.Destination,
      readonly: !mount.RW,
      recursiveReadonly: false,
      propagation:
        mount.Propagation === "rshared" ? "rshared" : mount.Propagation === "rslave" ? "rslave" : "private",
      selinuxRelabel: false,
    })),
    ...fromDockerLabels(labels),
  };
}

/** An image as Docker inspects it. */
export function imageFromDocker(
  image: Pick<ImageInspectInfo, "Id" | "RepoTags" | "RepoDigests" | "Size"> & { readonly user: string },
): ImageStatus {
  const [user = ""] = image.user.split(":");
  return {
    id: image.Id,
    repoTags: (image.RepoTags ?? []).filter((tag) => tag !== "<none>:<none>"),
    repoDigests: (image.RepoDigests ?? []).filter((digest) => !digest.startsWith("<none>")),
    sizeBytes: image.Size,
    user: user === "" ? { uid: 0 } : /^\d+$/.test(user) ? { uid: Number(user) } : { name: user },
    pinned: false,
  };
}

function stateOf(info: ContainerInspectInfo): Pick<ContainerStatus, "state" | "reason"> {
  const { Status: status, ExitCode: code, OOMKilled: oomKilled, Error: error } = info.State;
  switch (status) {
    case "created":
      // A start that failed leaves it "created", with the error.
      return error === ""
        ? { state: "created", reason: "" }
        : { state: "exited", reason: "ContainerCannotRun" };
    case "running":
    case "paused":
    case "restarting":
      return { state: "running", reason: "" };
    case "exited":
    case "dead":
      if (oomKilled) return { state: "exited", reason: "OOMKilled" };
      return { state: "exited", reason: code === 0 ? "Completed" : "Error" };
    default:
      return { state: "unknown", reason: status };
  }
}

/** Docker writes the year 1 for never. */
function timeOf(text: string): number {
  const time = Date.parse(text);
  return Number.isNaN(time) || time < 0 ? 0 : time;
}

/** The types do not know the field, which Docker has told since 1.10. */
function stopSignalOf(config: object): { readonly stopSignal?: string } {
  const name = "StopSignal" in config ? config.StopSignal : undefined;
  return typeof name === "string" && name !== "" ? { stopSignal: name } : {};
}
