/**
 * What every runtime does, as tests. The fake passes it beside the code; containerd and Docker pass it under
 * test/netns. The image must be busybox: `/bin/sh`, `sleep`, `cat`, `nc`.
 */
import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Test } from "tap";
import type { ContainerConfig, ContainerStatus, Runtime, RuntimeEvent, SandboxConfig } from "./runtime.ts";

/** A runtime under test. */
export interface ContractSubject {
  readonly runtime: Runtime;
  /** A busybox image that is present. */
  readonly image: string;
  /** A directory for pod logs. */
  readonly logRoot: string;
  /** Where sandboxes of the test live. */
  readonly network: SandboxConfig["network"];
  readonly cgroupParent: string;
  /** False when the subject writes no log files. */
  readonly logs: boolean;
  /** False when its processes are not the machine's. */
  readonly processes?: boolean;
}

/** Long enough for a slow machine; a call that takes this long is broken. */
const patienceMs = 60_000;

/** Runs the whole contract as subtests of `t`, one after another. */
export async function runtimeContract(t: Test, subject: ContractSubject): Promise<void> {
  const { runtime } = subject;
  const soon = (): AbortSignal => AbortSignal.timeout(patienceMs);
  const sh = (script: string, name = "main", more: Partial<ContainerConfig> = {}): ContainerConfig =>
    containerConfig(name, subject.image, ["/bin/sh", "-c", script], more);

  const podUp = async (podName: string, ...containers: ContainerConfig[]): Promise<Pod> => {
    const config = sandboxConfig(podName, subject);
    const sandboxId = await runtime.runSandbox(config, "", soon());
    const ids: string[] = [];
    for (const container of containers) {
      const id = await runtime.createContainer(sandboxId, container, config, soon());
      await runtime.startContainer(id, soon());
      ids.push(id);
    }
    return {
      config,
      sandboxId,
      ids,
      first: ids[0] ?? "",
      async [Symbol.asyncDispose]() {
        await runtime.stopSandbox(sandboxId, soon());
        await runtime.removeSandbox(sandboxId, soon());
      },
    };
  };
  const until = async (id: string, state: ContainerStatus["state"]): Promise<ContainerStatus> => {
    const signal = soon();
    for (;;) {
      const status = await runtime.containerStatus(id, signal);
      if (status?.state === state) return status;
      await delay(20, undefined, { signal });
    }
  };

  await t.test("says who it is and that it is ready", { timeout: patienceMs }, async (t) => {
    const version = await runtime.version(soon());
    t.not(version.version, "");
    const status = await runtime.status(soon());
    t.ok(status.runtimeReady, status.message);
  });

  await t.test("tells an image that is there from one that is not", { timeout: patienceMs }, async (t) => {
    const present = await runtime.imageStatus(subject.image, soon());
    t.match(present?.id, /^sha256:[0-9a-f]{64}$/);
    t.equal(await runtime.imageStatus("keelson.test/none:1", soon()), undefined);
    t.ok((await runtime.listImages(soon())).some((image) => image.id === present?.id));
    await t.rejects(runtime.pullImage("keelson.invalid/none:1", {}, soon()), { code: "image-pull" });
  });

  await t.test(
    "runs, lists, stops and removes a sandbox; doing it again changes nothing",
    { timeout: patienceMs },
    async (t) => {
      const config = sandboxConfig("sandbox", subject);
      const id = await runtime.runSandbox(config, "", soon());
      const [listed, ...others] = await runtime.listSandboxes({ podUid: config.podUid }, soon());
      t.same(others, []);
      t.match(listed, {
        id,
        podName: "sandbox",
        podNamespace: "contract",
        podUid: config.podUid,
        attempt: 0,
        state: "ready",
        network: subject.network,
        labels: { app: "contract" },
        annotations: { note: "a b" },
      });
      await t.rejects(runtime.runSandbox(config, "", soon()), { code: "exists" }, "the same attempt twice");
      t.same(await runtime.listSandboxes({ podUid: "other" }, soon()), []);
      await runtime.stopSandbox(id, soon());
      const [stopped] = await runtime.listSandboxes({ podUid: config.podUid }, soon());
      t.equal(stopped?.state, "not-ready");
      await runtime.stopSandbox(id, soon());
      await runtime.removeSandbox(id, soon());
      await runtime.removeSandbox(id, soon());
      await runtime.stopSandbox(id, soon());
      t.same(await runtime.listSandboxes({ podUid: config.podUid }, soon()), []);
    },
  );

  await t.test("refuses a container without its sandbox or its image", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("refused");
    await t.rejects(
      runtime.createContainer("0".repeat(64), sh("true"), pod.config, soon()),
      { code: "not-found" },
      "no sandbox",
    );
    const noImage = containerConfig("main", "keelson.test/none:1", ["true"]);
    await t.rejects(runtime.createContainer(pod.sandboxId, noImage, pod.config, soon()), {
      name: "RuntimeError",
    });
    await t.rejects(runtime.startContainer("0".repeat(64), soon()), { code: "not-found" });
  });

  await t.test(
    "a container is created, runs and ends with its exit code",
    { timeout: patienceMs },
    async (t) => {
      await using pod = await podUp("life");
      const config = sh("echo hello; echo wrong >&2; exit 3");
      const id = await runtime.createContainer(pod.sandboxId, config, pod.config, soon());
      const created = await runtime.containerStatus(id, soon());
      t.match(created, {
        id,
        sandboxId: pod.sandboxId,
        podUid: pod.config.podUid,
        podName: "life",
        podNamespace: "contract",
        name: "main",
        attempt: 0,
        state: "created",
        startedAtMs: 0,
        finishedAtMs: 0,
        labels: { app: "contract" },
        annotations: { hash: "1" },
      });
      await runtime.startContainer(id, soon());
      const ended = await until(id, "exited");
      t.equal(ended.exitCode, 3);
      t.equal(ended.reason, "Error");
      t.ok(ended.startedAtMs > 0 && ended.finishedAtMs >= ended.startedAtMs);
      if (subject.logs) {
        const log = await readWhen(ended.logPath, (text) => text.includes("hello") && text.includes("wrong"));
        t.match(log, /hello/);
        t.match(log, /wrong/);
      }
      await t.rejects(
        runtime.startContainer(id, soon()),
        { name: "RuntimeError" },
        "an ended one starts no more",
      );
      const second = sh("exit 0", "main", { attempt: 1, logPath: "main/1.log" });
      const again = await runtime.createContainer(pod.sandboxId, second, pod.config, soon());
      await runtime.startContainer(again, soon());
      t.match(await until(again, "exited"), { exitCode: 0, reason: "Completed", attempt: 1 });
      const all = await runtime.listContainers({ podUid: pod.config.podUid }, soon());
      t.same(new Set(all.map((container) => container.id)), new Set([id, again]));
      await runtime.removeContainer(id, soon());
      await runtime.removeContainer(id, soon());
      t.equal(await runtime.containerStatus(id, soon()), undefined);
    },
  );

  await t.test("stopping asks first, and kills what does not listen", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp(
      "stop",
      sh('trap "exit 7" TERM; while :; do sleep 0.1; done', "polite"),
      containerConfig("deaf", subject.image, ["/bin/sleep", "3600"]),
    );
    const [polite = "", deaf = ""] = pod.ids;
    await delay(300); // Its trap is set before it is asked.
    await runtime.stopContainer(polite, 30, soon());
    t.equal((await runtime.containerStatus(polite, soon()))?.exitCode, 7);
    await runtime.stopContainer(deaf, 1, soon());
    t.equal((await runtime.containerStatus(deaf, soon()))?.exitCode, 137);
    await runtime.stopContainer(deaf, 1, soon());
  });

  await t.test(
    "execSync gives output and exit code, and ends what takes too long",
    { timeout: patienceMs },
    async (t) => {
      const env = [{ name: "COLOUR", value: "blue" }];
      await using pod = await podUp("exec-sync", sh("sleep 3600", "main", { env }));
      const options = { timeoutMs: 10_000, maxOutputBytes: 1_000 };
      const run = (script: string, more: object = {}): ReturnType<Runtime["execSync"]> =>
        runtime.execSync(pod.first, ["/bin/sh", "-c", script], { ...options, ...more }, soon());
      const result = await run("echo $COLOUR; echo err >&2; exit 4");
      t.equal(result.exitCode, 4);
      t.equal(Buffer.from(result.stdout).toString(), "blue\n");
      t.equal(Buffer.from(result.stderr).toString(), "err\n");
      t.equal((await run("echo 0123456789", { maxOutputBytes: 4 })).stdout.length, 4);
      await t.rejects(run("sleep 60", { timeoutMs: 1_000 }), { code: "timeout" });
      await runtime.stopContainer(pod.first, 0, soon());
      await t.rejects(run("true"), { name: "RuntimeError" }, "it does not run any more");
    },
  );

  await t.test(
    "PR3: on time-out everything that the command started ends, and at once",
    { timeout: patienceMs },
    async (t) => {
      await using pod = await podUp("exec-group", sh("sleep 3600"));
      const run = (script: string, timeoutMs: number, signal = soon()): ReturnType<Runtime["execSync"]> =>
        runtime.execSync(pod.first, ["/bin/sh", "-c", script], { timeoutMs, maxOutputBytes: 10_000 }, signal);
      const began = performance.now();
      await t.rejects(run("sleep 61 & sleep 62; true", 1_000), { code: "timeout" });
      const tookMs = performance.now() - began;
      t.ok(tookMs > 950 && tookMs < 4_000, `${tookMs} ms`);
      const kept = run("sleep 63; true", 30_000).catch(() => undefined);
      const stop = new AbortController();
      const cut = run("sleep 64 & sleep 65; true", 0, stop.signal);
      await delay(700);
      stop.abort(new Error("enough"));
      await t.rejects(cut, { message: "enough" });
      const signal = soon();
      let list = "";
      do {
        list = Buffer.from((await run("ps", 10_000)).stdout).toString();
      } while (/sleep 6[1245]/.test(list) && !signal.aborted);
      t.match(list, /PID/);
      t.notMatch(list, /sleep 6[1245]/);
      if (/sleep 3600/.test(list)) t.match(list, /sleep 63/, "and nothing else does");
      await runtime.stopContainer(pod.first, 0, soon());
      await kept;
    },
  );

  await t.test("HK4: a container is stopped by the signal of its own", { timeout: patienceMs }, async (t) => {
    const script = 'trap "exit 9" USR1; trap "exit 7" TERM; while :; do sleep 0.1; done';
    await using pod = await podUp(
      "signal",
      sh(script, "main", { stopSignal: "SIGUSR1" }),
      containerConfig("deaf", subject.image, ["/bin/sleep", "3600"], { stopSignal: "SIGRTMIN+3" }),
    );
    const [first = "", deaf = ""] = pod.ids;
    await delay(300); // Its traps are set before it is asked.
    t.equal((await runtime.containerStatus(first, soon()))?.stopSignal, "SIGUSR1");
    await runtime.listContainers({ podUid: pod.config.podUid }, soon());
    await runtime.stopContainer(first, 30, soon());
    t.match(await runtime.containerStatus(first, soon()), { state: "exited", exitCode: 9 });
    await runtime.stopContainer(deaf, 1, soon());
    t.equal((await runtime.containerStatus(deaf, soon()))?.state, "exited");
  });

  if (subject.processes !== false) {
    await t.test("LC11: a container joins the processes of another", { timeout: patienceMs }, async (t) => {
      await using pod = await podUp("target", sh("exec sleep 1234"));
      const look = sh("trap 'exit 0' TERM; while :; do sleep 0.1; done", "debug", {
        pid: { mode: "target", containerId: pod.first },
      });
      const id = await runtime.createContainer(pod.sandboxId, look, pod.config, soon());
      await runtime.startContainer(id, soon());
      const seen = async (container: string): Promise<string> => {
        const options = { timeoutMs: 5_000, maxOutputBytes: 10_000 };
        const { stdout } = await runtime.execSync(container, ["/bin/ps"], options, soon());
        return Buffer.from(stdout).toString();
      };
      t.match(await seen(id), /^ +1 .*sleep 1234$/m, "the other's first process is its first too");
      t.match(await seen(pod.first), /while :/, "and the other sees it");
      await runtime.stopContainer(id, 5, soon());
      t.equal((await runtime.containerStatus(pod.first, soon()))?.state, "running");
    });
  }

  await t.test("exec streams both ways and tells the exit code", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("exec", sh("sleep 3600"));
    const streams = await runtime.exec(
      pod.first,
      {
        command: ["/bin/sh", "-c", "cat; echo done >&2; exit 5"],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
      },
      soon(),
    );
    const stdout = readAll(streams.stdout);
    const stderr = readAll(streams.stderr);
    streams.stdin?.end("over the wire\n");
    t.equal(await stdout, "over the wire\n");
    t.equal(await stderr, "done\n");
    t.equal(await streams.exit, 5);
  });

  await t.test("attach joins the streams of the container itself", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("attach", sh("cat", "main", { stdin: true }));
    const streams = await runtime.attach(
      pod.first,
      { stdin: true, stdout: true, stderr: true, tty: false },
      soon(),
    );
    const seen = readUntil(streams.stdout, "ping\n");
    streams.stdin?.write("ping\n");
    t.equal(await seen, "ping\n");
    streams.close();
    await streams.exit;
  });

  await t.test("portForward reaches a port inside the sandbox", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("forward", sh("nc -ll -p 18080 -e /bin/cat"));
    const signal = soon();
    let answer = "";
    for (; answer !== "marco"; await delay(50, undefined, { signal })) {
      try {
        const stream = await runtime.portForward(pod.sandboxId, 18_080, signal);
        const got = readUntil(stream, "marco");
        stream.write("marco");
        answer = await got;
        stream.destroy();
      } catch {
        // It does not listen yet.
      }
    }
    t.equal(answer, "marco");
  });

  await t.test("events say that a container ended", { timeout: patienceMs }, async (t) => {
    const stop = new AbortController();
    const seen: RuntimeEvent[] = [];
    const reading = (async () => {
      for await (const event of runtime.events(stop.signal)) seen.push(event);
    })();
    await delay(500);
    {
      await using pod = await podUp("events", sh("sleep 1; exit 0"));
      await until(pod.first, "exited");
      const signal = soon();
      const told = (event: RuntimeEvent): boolean =>
        event.containerId === pod.first || (event.containerId === "" && event.podUid === "");
      while (!seen.some(told)) await delay(20, undefined, { signal });
      t.pass("told");
    }
    stop.abort();
    await reading;
  });

  await t.test("a list asked for after an event shows what it told", { timeout: patienceMs }, async (t) => {
    const stop = new AbortController();
    await using pod = await podUp("told", sh("sleep 2; exit 3"));
    for await (const event of runtime.events(stop.signal)) {
      if (event.containerId !== pod.first && event.podUid !== "") continue;
      const listed = await runtime.listContainers({ podUid: pod.config.podUid }, soon());
      t.match(listed, [{ id: pod.first, state: "exited", exitCode: 3 }]);
      break;
    }
    stop.abort();
  });

  await t.test("limits of a running container can be changed", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("resize", sh("sleep 3600"));
    await runtime.updateResources(pod.first, { cpuShares: 512, memoryLimitBytes: 64 * 1024 * 1024 }, soon());
    t.equal((await runtime.containerStatus(pod.first, soon()))?.state, "running");
  });

  await t.test("what a container writes to its own files can be told", { timeout: patienceMs }, async (t) => {
    await using pod = await podUp("layer", sh("dd if=/dev/zero of=/big bs=1M count=3; sleep 3600"));
    const signal = soon();
    // containerd looks every ten seconds.
    while (((await runtime.writableLayerBytes(pod.first, signal)) ?? 0) < 3 * 1_024 * 1_024)
      await delay(250, undefined, { signal });
    await t.rejects(runtime.writableLayerBytes("0123456789abcdef", soon()), { code: "not-found" });
  });

  await t.test("removing a sandbox removes what is in it", { timeout: patienceMs }, async (t) => {
    const pod = await podUp("remove", sh("sleep 3600"));
    await runtime.stopSandbox(pod.sandboxId, soon());
    t.not((await runtime.containerStatus(pod.first, soon()))?.state, "running");
    await runtime.removeSandbox(pod.sandboxId, soon());
    t.equal(await runtime.containerStatus(pod.first, soon()), undefined);
    t.same(await runtime.listContainers({ podUid: pod.config.podUid }, soon()), []);
  });
}

interface Pod extends AsyncDisposable {
  readonly config: SandboxConfig;
  readonly sandboxId: string;
  readonly ids: readonly string[];
  readonly first: string;
}

function sandboxConfig(podName: string, subject: ContractSubject): SandboxConfig {
  const podUid = `uid-${podName}`;
  return {
    podName,
    podNamespace: "contract",
    podUid,
    attempt: 0,
    hostname: subject.network === "node" ? "" : podName,
    logDirectory: `${subject.logRoot}/contract_${podName}_${podUid}`,
    dns: { servers: ["127.0.0.1"], searches: ["contract.svc"], options: ["ndots:5"] },
    portMappings: [],
    labels: podLabels(podName),
    annotations: { note: "a b" },
    cgroupParent: subject.cgroupParent,
    network: subject.network,
    pid: "container",
    ipc: "pod",
    sysctls: {},
    security: {},
  };
}

function podLabels(podName: string): Record<string, string> {
  return {
    app: "contract",
    "io.kubernetes.pod.name": podName,
    "io.kubernetes.pod.namespace": "contract",
    "io.kubernetes.pod.uid": `uid-${podName}`,
  };
}

function containerConfig(
  name: string,
  image: string,
  command: readonly string[],
  more: Partial<ContainerConfig> = {},
): ContainerConfig {
  return {
    name,
    attempt: 0,
    image,
    userImage: image,
    command,
    args: [],
    workingDir: "",
    env: [],
    mounts: [],
    devices: [],
    labels: { app: "contract", "io.kubernetes.container.name": name },
    annotations: { hash: "1" },
    logPath: `${name}/0.log`,
    stdin: false,
    stdinOnce: false,
    tty: false,
    resources: {},
    security: {},
    pid: { mode: "container" },
    ...more,
  };
}

async function readAll(stream: Readable | undefined): Promise<string> {
  let text = "";
  for await (const chunk of stream ?? []) text += String(chunk);
  return text;
}

/** Reads until the wanted text arrived or the stream ended; the stream stays open. */
function readUntil(stream: Readable | undefined, wanted: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = "";
  stream?.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    if (text.includes(wanted)) resolve(text);
  });
  stream?.once("error", reject);
  stream?.once("close", () => resolve(text));
  return promise;
}

async function readWhen(file: string, wanted: (text: string) => boolean): Promise<string> {
  let text = "";
  for (let tries = 0; tries < 100; tries += 1) {
    text = await readFile(file, "utf8").catch(() => "");
    if (wanted(text)) return text;
    await delay(50);
  }
  return text;
}
