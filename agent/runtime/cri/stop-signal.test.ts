import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import t, { type Test } from "tap";
import type { ContainerConfig, SandboxConfig } from "../runtime.ts";
import { signalNumber } from "../signals.ts";
import { criCodec } from "./codec.ts";
import { CriRuntime } from "./cri-runtime.ts";
import { signalFromCri, signalToCri } from "./stop-signal.ts";

const signal = AbortSignal.timeout(10_000);

t.test("HK4: signals have CRI's numbers there and the kernel's here", async (t) => {
  const cases = [
    { name: "SIGABRT", cri: 1, kernel: 6 },
    { name: "SIGKILL", cri: 13, kernel: 9 },
    { name: "SIGTERM", cri: 23, kernel: 15 },
    { name: "SIGUSR1", cri: 29, kernel: 10 },
    { name: "SIGXFSZ", cri: 34, kernel: 25 },
    { name: "SIGRTMIN", cri: 35, kernel: 34 },
    { name: "SIGRTMIN+15", cri: 50, kernel: 49 },
    { name: "SIGRTMAX-14", cri: 51, kernel: 50 },
    { name: "SIGRTMAX", cri: 65, kernel: 64 },
  ];
  for (const { name, cri, kernel } of cases) {
    t.equal(signalToCri(name), cri, name);
    t.equal(signalFromCri(cri), name);
    t.equal(signalNumber(name), kernel, name);
  }
  t.equal(signalFromCri(0), undefined);
  t.equal(signalNumber("SIGRTMIN+31"), undefined);
  t.throws(() => signalToCri("SIGNONE"), { code: "invalid", message: /it is no signal/ });
});

/** A CRI runtime that keeps one container, and its stop signal only when it knows the field. */
async function criServer(t: Test, runtimeName: string, knowsSignals: boolean) {
  const codec = criCodec();
  let config: Record<string, unknown> | undefined;
  const answers: Record<string, (request: Record<string, unknown>) => object> = {
    Version: () => ({ runtimeName }),
    CreateContainer: (request) => {
      config = request["config"] as Record<string, unknown>;
      return { containerId: "c1" };
    },
    ListContainers: () => ({ containers: config === undefined ? [] : [{ id: "c1", podSandboxId: "s1" }] }),
    ContainerStatus: () => ({
      status: { id: "c1", ...config, state: 1, stopSignal: knowsSignals ? config?.["stopSignal"] : 0 },
    }),
    RemoveContainer: () => {
      config = undefined;
      return {};
    },
  };
  const server = new grpc.Server();
  const definition = Object.keys(answers).map((name): [string, grpc.MethodDefinition<object, object>] => [
    name,
    {
      path: `/runtime.v1.RuntimeService/${name}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: (value) => codec.encode(`${name}Request`, value),
      requestDeserialize: (bytes) => codec.decode(`${name}Request`, bytes) as object,
      responseSerialize: (value) =>
        codec.encode(name === "RemoveContainer" ? "Empty" : `${name}Response`, value),
      responseDeserialize: (bytes) => codec.decode(`${name}Response`, bytes) as object,
    },
  ]);
  const handlers = Object.entries(answers).map(
    ([name, answer]): [string, grpc.handleUnaryCall<Record<string, unknown>, object>] => [
      name,
      (call, done) => done(null, answer(call.request)),
    ],
  );
  server.addService(Object.fromEntries(definition), Object.fromEntries(handlers));
  const folder = await mkdtemp(path.join(os.tmpdir(), "cri-"));
  const endpoint = `unix://${folder}/cri.sock`;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.bindAsync(endpoint, grpc.ServerCredentials.createInsecure(), (cause) =>
    cause === null ? resolve() : reject(cause),
  );
  await promise;
  const runtime = await CriRuntime.connect(endpoint, signal);
  t.teardown(async () => {
    await runtime.close();
    server.forceShutdown();
    await rm(folder, { recursive: true });
  });
  return { runtime, has: () => config !== undefined };
}

const sandbox: SandboxConfig = {
  podName: "p",
  podNamespace: "n",
  podUid: "u",
  attempt: 0,
  hostname: "",
  logDirectory: "/",
  dns: { servers: [], searches: [], options: [] },
  portMappings: [],
  labels: {},
  annotations: {},
  cgroupParent: "",
  network: "pod",
  pid: "container",
  ipc: "pod",
  sysctls: {},
  security: {},
};
const container: ContainerConfig = {
  name: "main",
  attempt: 0,
  image: "i",
  userImage: "i",
  command: [],
  args: [],
  workingDir: "",
  env: [],
  mounts: [],
  devices: [],
  labels: {},
  annotations: {},
  logPath: "main/0.log",
  stdin: false,
  stdinOnce: false,
  tty: false,
  stopSignal: "SIGUSR1",
  resources: {},
  security: {},
  pid: { mode: "container" },
};

t.test("HK4: a runtime that would pass over the signal is not given the container", async (t) => {
  const { runtime, has } = await criServer(t, "cri-o", false);
  await t.rejects(runtime.createContainer("s1", container, sandbox, signal), {
    code: "unsupported",
    message: /cri-o does not know lifecycle\.stopSignal/,
  });
  t.equal(has(), false, "nothing is left of it");
});

t.test("HK4: one that knows it keeps it, and tells it", async (t) => {
  const { runtime } = await criServer(t, "cri-o", true);
  const id = await runtime.createContainer("s1", container, sandbox, signal);
  t.equal((await runtime.containerStatus(id, signal))?.stopSignal, "SIGUSR1");
});
