/** Labels and annotations on sandboxes and containers, as the kubelet writes them: tools filter by them. */
export const label = {
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  containerName: "io.kubernetes.container.name",
} as const;

/** What a restarted agent needs to go on without asking the API. */
export const annotation = {
  restartCount: "io.kubernetes.container.restartCount",
  terminationPath: "io.kubernetes.container.terminationMessagePath",
  terminationPolicy: "io.kubernetes.container.terminationMessagePolicy",
  ports: "io.kubernetes.container.ports",
  podGraceSeconds: "io.kubernetes.pod.terminationGracePeriod",
  /** Hash of what forces a restart when it changes. Ours, so that containers of a kubelet are never restarted for it. */
  containerHash: "io.keelson.container.hash",
  /** CPU and memory the container was made with, as JSON: what a restarted agent compares a resize with. */
  resources: "io.keelson.container.resources",
  /** The wait after this container's end, in milliseconds: crash back-off that survives a restart of the agent. */
  backoffMs: "io.keelson.container.backoff-ms",
  /** Where a Pod came from: `api`, `file` or `http`. */
  source: "kubernetes.io/config.source",
  sourceHash: "kubernetes.io/config.hash",
  sourceSeen: "kubernetes.io/config.seen",
  /** On a mirror Pod: the hash of the static Pod it shows. */
  mirror: "kubernetes.io/config.mirror",
} as const;
