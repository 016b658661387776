/** Labels that cri-dockerd puts on its containers; other tools look for them. */
export const dockerLabel = {
  /** `podsandbox`, `container`, and ours: `image`, which never runs and keeps an image that is mounted. */
  type: "io.kubernetes.docker.type",
  sandboxId: "io.kubernetes.sandbox.id",
  logPath: "io.kubernetes.container.logpath",
  container: "io.kubernetes.container.name",
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  /** Ours: RuntimeClass's handler. */
  runtimeHandler: "keelson.dev/runtime-handler",
} as const;

const annotationPrefix = "annotation.";
const own: ReadonlySet<string> = new Set([
  dockerLabel.type,
  dockerLabel.sandboxId,
  dockerLabel.logPath,
  dockerLabel.runtimeHandler,
]);

/** Labels and annotations as Docker's labels, which are all it has. */
export function toDockerLabels(
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>>,
): Record<string, string> {
  const prefixed = Object.entries(annotations).map(([name, value]) => [`${annotationPrefix}${name}`, value]);
  return { ...labels, ...Object.fromEntries(prefixed) };
}

/** The inverse of {@link toDockerLabels}; what only Docker needed is left out. */
export function fromDockerLabels(all: Readonly<Record<string, string>>): {
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
} {
  const entries = Object.entries(all);
  return {
    labels: Object.fromEntries(
      entries.filter(([name]) => !name.startsWith(annotationPrefix) && !own.has(name)),
    ),
    annotations: Object.fromEntries(
      entries
        .filter(([name]) => name.startsWith(annotationPrefix))
        .map(([name, value]) => [name.slice(annotationPrefix.length), value]),
    ),
  };
}
