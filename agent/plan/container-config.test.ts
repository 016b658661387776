import t from "tap";
import type { Volume } from "#api/generated/kubernetes.ts";
import { containerConfig, type ContainerInput } from "./container-config.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

const input: ContainerInput = {
  attempt: 0,
  backoffMs: 0,
  imageRef: "i",
  env: [],
  sources: [],
  recursiveReadOnlyMounts: false,
  devices: [],
  hostsFile: "/hosts",
  terminationFile: "/words",
  resources: {},
  imageUser: {},
  seccompDefault: false,
  seccompRoot: "/seccomp",
  pid: { mode: "container" },
};

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
      { name: "driver", csi: { driver: "d", readOnly: true } },
      { name: "share", nfs: { server: "s", path: "/p", readOnly: true } },
    ];
    const container = testContainer("web", {
      volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/${name}` })),
    });
    const { mounts } = containerConfig(
      testPod({ volumes, containers: [container] }),
      { kind: "app", container },
      { ...input, sources: volumes.map(({ name }) => ({ hostPath: `/host/${name}` })) },
    );
    const readOnly = mounts.filter((mount) => mount.readonly).map(({ containerPath }) => containerPath);
    t.same(readOnly, ["/config", "/secret", "/self", "/mixed", "/kept", "/driver", "/share"]);
  },
);

t.test(
  "VO14: a container gets the devices of its block volumes, for reading alone where its claim says so",
  async (t) => {
    const claim = (name: string, more: object = {}): Volume => ({
      name,
      persistentVolumeClaim: { claimName: name, ...more },
    });
    const container = testContainer("db", {
      volumeDevices: [
        { name: "disk", devicePath: "/dev/xvda" },
        { name: "old", devicePath: "dev/xvdb" },
      ],
    });
    const pod = testPod({
      volumes: [claim("disk"), claim("old", { readOnly: true })],
      containers: [container],
    });
    const { devices } = containerConfig(pod, { kind: "app", container }, { ...input, devices: ["/a", "/b"] });
    t.same(devices, [
      { hostPath: "/a", containerPath: "/dev/xvda", permissions: "mrw" },
      { hostPath: "/b", containerPath: "/dev/xvdb", permissions: "r" },
    ]);
  },
);
