import { PassThrough } from "node:stream";
import t from "tap";
import type { ContainerConfig, SandboxConfig } from "../runtime.ts";
import { collectOutput } from "../collect-output.ts";
import { demultiplex } from "./demultiplex.ts";
import { fromDockerLabels, toDockerLabels } from "./labels.ts";
import { formatName, parseName } from "./names.ts";
import { formatResolvConf } from "./resolv-conf.ts";
import { containerToDocker, sandboxToDocker } from "./to-docker.ts";

const sandbox: SandboxConfig = {
  podName: "web",
  podNamespace: "default",
  podUid: "u-1",
  attempt: 2,
  hostname: "web",
  logDirectory: "/var/log/pods/default_web_u-1",
  dns: { servers: ["10.96.0.10"], searches: ["default.svc.cluster.local"], options: ["ndots:5"] },
  portMappings: [],
  labels: { app: "web" },
  annotations: { note: "x" },
  cgroupParent: "/kubepods/podu-1",
  network: "pod",
  pid: "container",
  ipc: "pod",
  sysctls: {},
  security: {},
};
const container: ContainerConfig = {
  name: "main",
  attempt: 3,
  image: "docker-pullable://nginx@sha256:1",
  userImage: "nginx",
  command: ["a"],
  args: ["b"],
  workingDir: "",
  env: [{ name: "K", value: "v=w" }],
  mounts: [
    {
      hostPath: "/h",
      containerPath: "/c",
      readonly: true,
      recursiveReadonly: false,
      propagation: "private",
      selinuxRelabel: false,
    },
  ],
  devices: [],
  labels: {},
  annotations: {},
  logPath: "main/3.log",
  stdin: false,
  stdinOnce: false,
  tty: false,
  resources: { memoryLimitBytes: 1_000, cpuShares: 2 },
  security: {
    runAsUser: 7,
    runAsGroup: 8,
    supplementalGroups: [9],
    addCapabilities: ["CAP_NET_ADMIN"],
    seccomp: { type: "RuntimeDefault" },
    noNewPrivileges: true,
  },
  pid: { mode: "pod" },
};

const holding = { id: "S", handler: "" };

t.test("names are cri-dockerd's and come back", async (t) => {
  const name = { container: "main", podName: "web", podNamespace: "default", podUid: "u-1", attempt: 3 };
  t.equal(formatName(name), "k8s_main_web_default_u-1_3");
  t.same(parseName("/k8s_main_web_default_u-1_3"), name);
  t.same(parseName("k8s_main_web_default_u-1_3_0badc0de"), name, "with a random end after a conflict");
  t.equal(parseName("/registry"), undefined);
});

t.test("annotations travel as labels and come back", async (t) => {
  const labels = toDockerLabels({ app: "web" }, { note: "x" });
  t.same(labels, { app: "web", "annotation.note": "x" });
  t.same(fromDockerLabels({ ...labels, "io.kubernetes.docker.type": "container" }), {
    labels: { app: "web" },
    annotations: { note: "x" },
  });
});

t.test("a sandbox is a container without a network of Docker's", async (t) => {
  t.match(sandboxToDocker(sandbox, "keelson/pause:1", "", -998), {
    name: "k8s_POD_web_default_u-1_2",
    Hostname: "web",
    Labels: {
      "io.kubernetes.docker.type": "podsandbox",
      "io.kubernetes.pod.uid": "u-1",
      "annotation.note": "x",
    },
    HostConfig: {
      NetworkMode: "none",
      IpcMode: "shareable",
      OomScoreAdj: -998,
      CgroupParent: "/kubepods/podu-1",
    },
  });
  const onHost = sandboxToDocker(
    { ...sandbox, network: "node", pid: "node", ipc: "node", cgroupParent: "/kubepods.slice/podx.slice" },
    "i",
    "runsc",
    0,
  );
  t.match(onHost.HostConfig, {
    NetworkMode: "host",
    PidMode: "host",
    IpcMode: "host",
    CgroupParent: "podx.slice",
    Runtime: "runsc",
  });
  t.equal(onHost.Hostname, undefined, "the host has its name");
  const forPrivileged = sandboxToDocker({ ...sandbox, security: { privileged: true } }, "i", "", 0);
  t.equal(forPrivileged.HostConfig?.Privileged, true, "so that /sys is mounted to be written");
});

const logs = { maxSizeBytes: 20_480, maxFiles: 3 };

t.test("a container joins its sandbox and is limited as the Pod says", async (t) => {
  const made = containerToDocker(container, sandbox, holding, logs);
  t.match(made, {
    name: "k8s_main_web_default_u-1_3",
    Image: "nginx@sha256:1",
    Entrypoint: ["a"],
    Cmd: ["b"],
    Env: ["K=v=w"],
    User: "7:8",
    Healthcheck: { Test: ["NONE"] },
    Labels: {
      "io.kubernetes.sandbox.id": "S",
      "io.kubernetes.container.logpath": "/var/log/pods/default_web_u-1/main/3.log",
    },
    HostConfig: {
      NetworkMode: "container:S",
      IpcMode: "container:S",
      PidMode: "container:S",
      Memory: 1_000,
      MemorySwap: 1_000,
      CapAdd: ["NET_ADMIN"],
      GroupAdd: ["9"],
      LogConfig: { Type: "json-file", Config: { "max-size": "20480", "max-file": "3" } },
      Mounts: [{ Source: "/h", Target: "/c", ReadOnly: true, BindOptions: { Propagation: "rprivate" } }],
    },
  });
  t.same(
    made.HostConfig?.SecurityOpt,
    ["no-new-privileges"],
    "Docker's own seccomp profile is the default one",
  );
  const plain = containerToDocker(
    { ...container, command: [], args: [], security: {} },
    sandbox,
    holding,
    logs,
  );
  t.notOk("Entrypoint" in plain || "Cmd" in plain, "the image's own");
  t.same(plain.HostConfig?.SecurityOpt, ["seccomp=unconfined"], "no profile is Kubernetes' default");
  t.equal(plain.HostConfig?.Runtime, undefined);
  const labelled = { ...container, security: { ...container.security, selinux: { level: "s0:c1,c2" } } };
  t.match(containerToDocker(labelled, sandbox, holding, logs).HostConfig?.SecurityOpt, [
    "no-new-privileges",
    "label=level:s0:c1,c2",
  ]);
  const sealed = containerToDocker(container, sandbox, { id: "S", handler: "kata" }, logs);
  t.equal(sealed.HostConfig?.Runtime, "kata", "the sandbox's");
});

t.test("a Pod's resolv.conf says what its DNS policy says", async (t) => {
  t.equal(
    formatResolvConf(sandbox.dns),
    "nameserver 10.96.0.10\nsearch default.svc.cluster.local\noptions ndots:5\n",
  );
  t.equal(formatResolvConf({ servers: [], searches: [], options: [] }), "\n");
});

t.test("stdout and stderr are taken apart however the bytes are cut", async (t) => {
  const frame = (stream: number, text: string): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt8(stream, 0);
    head.writeUInt32BE(text.length, 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const bytes = Buffer.concat([frame(1, "out"), frame(2, "error"), frame(1, ""), frame(1, "put")]);
  for (const size of [1, 5, bytes.length]) {
    const source = new PassThrough();
    const { stdout, stderr } = demultiplex(source);
    const outputs = Promise.all([collectOutput(stdout, 100), collectOutput(stderr, 100)]);
    for (let at = 0; at < bytes.length; at += size) source.write(bytes.subarray(at, at + size));
    source.end();
    const [out, error] = await outputs;
    t.equal(Buffer.from(out).toString(), "output", `in pieces of ${size}`);
    t.equal(Buffer.from(error).toString(), "error");
  }
});

t.test("VO16: an image volume is refused by name, not mounted as something else", async (t) => {
  const [mount] = container.mounts;
  if (mount === undefined) throw new Error("the container has a mount");
  const mounts = [{ ...mount, hostPath: "", image: "registry.example/data:1" }];
  t.throws(() => containerToDocker({ ...container, mounts }, sandbox, holding, logs), {
    code: "unsupported",
    message: /image "registry\.example\/data:1" at "\/c"/,
  });
});
