/** Where a container's cgroup can be below its Pod's: runtimes name it by its id, with systemd as a scope. */
export function containerCgroups(podCgroup: string, id: string): readonly string[] {
  return [id, `cri-containerd-${id}.scope`, `crio-${id}.scope`, `docker-${id}.scope`].map(
    (name) => `${podCgroup}/${name}`,
  );
}
