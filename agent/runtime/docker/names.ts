/** What a container's name in Docker says, as cri-dockerd writes it: `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`. */
export interface DockerName {
  /** `POD` for the sandbox. */
  readonly container: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly attempt: number;
}

/** The container name of a sandbox. */
export const sandboxContainerName = "POD";

/** Writes a name. None of its parts can hold an underscore: all are DNS labels or uids. */
export function formatName(name: DockerName): string {
  return ["k8s", name.container, name.podName, name.podNamespace, name.podUid, name.attempt].join("_");
}

/** Reads a name; undefined for a container that is no Pod's. */
export function parseName(text: string): DockerName | undefined {
  const parts = text.replace(/^\//, "").split("_");
  const [prefix, container = "", podName = "", podNamespace = "", podUid = "", attempt = ""] = parts;
  if (prefix !== "k8s" || parts.length < 6 || !/^\d+$/.test(attempt)) return undefined;
  return { container, podName, podNamespace, podUid, attempt: Number(attempt) };
}
