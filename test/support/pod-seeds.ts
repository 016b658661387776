/** Pods that use most of what a Pod can say: mutated copies of them are what the fuzz tests try. */
export const podSeeds: readonly unknown[] = [
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace: "default", labels: { app: "web" }, annotations: { note: "a" } },
    spec: {
      terminationGracePeriodSeconds: 1,
      activeDeadlineSeconds: 60,
      restartPolicy: "OnFailure",
      hostname: "web",
      subdomain: "sub",
      dnsPolicy: "None",
      dnsConfig: { nameservers: ["192.0.2.1"], searches: ["a.b"], options: [{ name: "ndots", value: "2" }] },
      hostAliases: [{ ip: "192.0.2.7", hostnames: ["other"] }],
      securityContext: {
        runAsUser: 1000,
        fsGroup: 2000,
        supplementalGroups: [3000],
        sysctls: [{ name: "kernel.shm_rmid_forced", value: "1" }],
        seccompProfile: { type: "RuntimeDefault" },
      },
      tolerations: [{ key: "a", operator: "Exists", effect: "NoExecute", tolerationSeconds: 5 }],
      volumes: [
        { name: "data", emptyDir: { sizeLimit: "1Mi" } },
        {
          name: "about",
          downwardAPI: {
            items: [
              { path: "labels", fieldRef: { fieldPath: "metadata.labels" } },
              {
                path: "cpu",
                resourceFieldRef: { containerName: "web", resource: "limits.cpu", divisor: "1m" },
              },
            ],
          },
        },
      ],
      initContainers: [
        { name: "init", image: "busybox", command: ["sh", "-c", "exit 0"] },
        { name: "side", image: "busybox", restartPolicy: "Always", command: ["sleep", "100"] },
      ],
      containers: [
        {
          name: "web",
          image: "busybox",
          imagePullPolicy: "IfNotPresent",
          command: ["sleep", "$(A)"],
          args: ["x"],
          workingDir: "/",
          env: [
            { name: "A", value: "100" },
            { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          ],
          ports: [{ name: "http", containerPort: 80, protocol: "TCP" }],
          resources: { requests: { cpu: "100m", memory: "16Mi" }, limits: { cpu: "200m", memory: "64Mi" } },
          volumeMounts: [
            { name: "data", mountPath: "/data", readOnly: false },
            { name: "about", mountPath: "/about", readOnly: true },
          ],
          livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1, failureThreshold: 1 },
          readinessProbe: { tcpSocket: { port: "http" }, initialDelaySeconds: 1, timeoutSeconds: 1 },
          startupProbe: { httpGet: { path: "/", port: 80, httpHeaders: [{ name: "a", value: "b" }] } },
          lifecycle: { preStop: { exec: { command: ["true"] } }, postStart: { sleep: { seconds: 1 } } },
          securityContext: {
            capabilities: { add: ["NET_ADMIN"], drop: ["ALL"] },
            allowPrivilegeEscalation: false,
          },
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "FallbackToLogsOnError",
        },
      ],
    },
  },
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "small" },
    spec: { hostNetwork: true, containers: [{ name: "main", image: "busybox" }] },
  },
];
