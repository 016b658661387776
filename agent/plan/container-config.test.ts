import t from "tap";
import { containerConfig } from "./container-config.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

t.test(
  "VO6 VO12: what the agent writes, and a claim that says so, is read-only in a container",
  async (t) => {
    const volumes = [
      { name: "config", configMap: { name: "c" } },
      { name: "secret", secret: { secretName: "s" } },
      { name: "self", downwardAPI: {} },
      { name: "mixed", projected: {} },
      { name: "kept", persistentVolumeClaim: { claimName: "k", readOnly: true } },
      { name: "claim", persistentVolumeClaim: { claimName: "d" } },
      { name: "scratch", emptyDir: {} },
    ];
    const container = testContainer("web", {
      volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/${name}` })),
    });
    const { mounts } = containerConfig(
      testPod({ volumes, containers: [container] }),
      { kind: "app", container },
      {
        attempt: 0,
        backoffMs: 0,
        imageRef: "i",
        env: [],
        sources: volumes.map(({ name }) => ({ hostPath: `/host/${name}` })),
        hostsFile: "/hosts",
        terminationFile: "/words",
        resources: {},
        imageUser: {},
        seccompDefault: false,
        seccompRoot: "/seccomp",
        pid: { mode: "container" },
      },
    );
    const readOnly = mounts.filter((mount) => mount.readonly).map(({ containerPath }) => containerPath);
    t.same(readOnly, ["/config", "/secret", "/self", "/mixed", "/kept"]);
  },
);
