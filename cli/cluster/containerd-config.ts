import type { UpSettings } from "./settings.ts";

/** Where our own containerd keeps its things. Everything is below our folders, so that a purge finds all of it. */
export interface ContainerdPaths {
  readonly config: string;
  readonly root: string;
  readonly state: string;
  readonly socket: string;
}

export function containerdPaths(settings: UpSettings): ContainerdPaths {
  return {
    config: `${settings.configDir}/containerd.toml`,
    root: `${settings.dataDir}/containerd`,
    state: `${settings.runDir}/containerd`,
    socket: `${settings.runDir}/containerd/containerd.sock`,
  };
}

/**
 * The configuration of a containerd that only Keelson uses (config version 2: containerd 1.5 to 2.x read it).
 * @param mayLowerOomScore false where the kernel refuses a negative oom_score_adj to us (no CAP_SYS_RESOURCE):
 *   then runc would fail on the sandbox's -998.
 * @param systemdCgroup true when systemd owns the cgroup tree.
 */
export function renderContainerdConfig(
  paths: ContainerdPaths,
  mayLowerOomScore: boolean,
  systemdCgroup: boolean,
): string {
  return `version = 2
root = "${paths.root}"
state = "${paths.state}"

[grpc]
  address = "${paths.socket}"

[plugins."io.containerd.grpc.v1.cri"]
  # Built in: imported by the agent, so nothing is downloaded to start.
  sandbox_image = "keelson.local/pause:1"
  restrict_oom_score_adj = ${!mayLowerOomScore}
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "/etc/cni/net.d"
    bin_dir = "/opt/cni/bin"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    # Layers are unpacked once and their blobs dropped: half the disk.
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = ${systemdCgroup}
`;
}
