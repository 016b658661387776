/**
 * Runs on the test machine: how long after a container's process has died, and after a probe has got another answer,
 * the API tells it to a watch. Beside the first: when the runtime itself shows it to whoever asks after its event.
 * Prints {@link StatusLatency} as JSON.
 */
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { ApiClient } from "#api/client.ts";
import type { Container, Pod } from "#api/generated/kubernetes.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { pods } from "#api/resources.ts";
import { openRuntime } from "../../cli/node/open-runtime.ts";

/** Times in milliseconds, one for each change. */
export interface StatusLatency {
  /** From SIGKILL to the watch event with the container terminated. */
  readonly exit: number[];
  /** From the same SIGKILL to the runtime's list with the container exited. */
  readonly exitDirect: number[];
  /** From the end of the probe's answer to the watch event with the other Ready condition. */
  readonly flip: number[];
}

const waves = Number(process.argv[3] ?? 5);
const podsInWave = 20;
const flipsOfPod = 5;
const image = "docker.io/library/busybox:1.36";
const signal = AbortSignal.timeout(540_000);
const client = new ApiClient(new HttpTransport(loadKubeconfig("/etc/keelson/admin.kubeconfig")));
const runtime = await openRuntime(
  process.argv[2] === "docker"
    ? { containerRuntimeEndpoint: "", dockerEndpoint: "unix:///var/run/docker.sock" }
    : { containerRuntimeEndpoint: "unix:///run/keelson/containerd/containerd.sock", dockerEndpoint: "" },
  signal,
);

/** What somebody waits for in the watch. */
interface Wait {
  readonly name: string;
  readonly holds: (pod: Pod) => boolean;
  readonly seen: PromiseWithResolvers<number>;
}

const waits = new Set<Wait>();
const stop = new AbortController();
const { metadata } = await client.list(pods, { namespace: "default" }, signal);
const watching = follow();
const ended = new Map<string, PromiseWithResolvers<number>>();
const following = followRuntime();

const result: StatusLatency = { exit: [], exitDirect: [], flip: [] };
for (let wave = 0; wave < waves; wave += 1) await exits(wave);
await flips();
stop.abort();
await Promise.all([watching, following]);
console.log(JSON.stringify(result));
process.exit(0);

async function exits(wave: number): Promise<void> {
  const all = Array.from({ length: podsInWave }, (_, index) => ({
    name: `exit-${wave}-${index}`,
    seconds: String(100_000 + wave * podsInWave + index),
  }));
  await Promise.all(
    all.map(({ name, seconds }) =>
      start(
        name,
        { name: "main", image, command: ["sleep", seconds] },
        (pod) => pod.status?.phase === "Running",
      ),
    ),
  );
  const containers = await runtime.listContainers({}, signal); // from now on its events name the Pods
  for (const { name, seconds } of all) {
    const container = containers.find(({ podName, state }) => podName === name && state === "running");
    if (container === undefined)
      throw new Error(`cannot end pod "${name}": the runtime has no container of it`);
    const pid = pidOf(["sleep", seconds]);
    const told = Promise.withResolvers<number>();
    ended.set(container.id, told);
    const seen = waitFor(name, (pod) => pod.status?.containerStatuses?.[0]?.state?.terminated !== undefined);
    const startMs = performance.now();
    process.kill(pid, "SIGKILL");
    result.exitDirect.push((await told.promise) - startMs);
    result.exit.push((await seen) - startMs);
  }
  await Promise.all(all.map(({ name }) => remove(name)));
}

/** A server that a readiness probe asks, and that changes its mind. */
async function flips(): Promise<void> {
  const answers = new Map<string, { isGood: boolean; told: PromiseWithResolvers<number> | undefined }>();
  const server = http.createServer((request, response) => {
    const one = answers.get(request.url ?? "");
    response.statusCode = one?.isGood === true ? 200 : 500;
    response.once("finish", () => one?.told?.resolve(performance.now()));
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const names = Array.from({ length: podsInWave }, (_, index) => `flip-${index}`);
  const isReady = (pod: Pod): boolean =>
    pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
  await Promise.all(
    names.map(async (name) => {
      const answer: { isGood: boolean; told: PromiseWithResolvers<number> | undefined } = {
        isGood: true,
        told: undefined,
      };
      answers.set(`/${name}`, answer);
      const readinessProbe = {
        httpGet: { host: "127.0.0.1", port, path: `/${name}` },
        periodSeconds: 1,
        failureThreshold: 1,
      };
      await start(name, { name: "main", image, command: ["sleep", "3600"], readinessProbe }, isReady);
      for (let flip = 0; flip < flipsOfPod; flip += 1) {
        const isGood: boolean = !answer.isGood;
        const told = Promise.withResolvers<number>();
        const seen = waitFor(name, (pod) => isReady(pod) === isGood);
        answer.told = told;
        answer.isGood = isGood;
        result.flip.push((await seen) - (await told.promise));
      }
    }),
  );
  await Promise.all(names.map(remove));
  server.close();
}

async function start(name: string, container: Container, holds: Wait["holds"]): Promise<void> {
  const running = waitFor(name, holds);
  await client.create(
    pods,
    {
      metadata: { namespace: "default", name },
      spec: { restartPolicy: "Never", terminationGracePeriodSeconds: 1, containers: [container] },
    },
    {},
    signal,
  );
  await running;
}

async function remove(name: string): Promise<void> {
  await client.delete(pods, { namespace: "default", name }, { gracePeriodSeconds: 0 }, signal);
}

function waitFor(name: string, holds: Wait["holds"]): Promise<number> {
  const wait: Wait = { name, holds, seen: Promise.withResolvers() };
  waits.add(wait);
  return wait.seen.promise;
}

async function follow(): Promise<void> {
  const from = metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion };
  try {
    for await (const { object } of client.watch(pods, { namespace: "default", ...from }, stop.signal)) {
      for (const wait of waits) {
        if (wait.name !== object.metadata?.name || !wait.holds(object)) continue;
        waits.delete(wait);
        wait.seen.resolve(performance.now());
      }
    }
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
  }
}

async function followRuntime(): Promise<void> {
  for await (const { containerId } of runtime.events(stop.signal)) {
    const told = ended.get(containerId);
    if (told === undefined) continue;
    const status = await runtime.containerStatus(containerId, signal);
    if (status?.state === "exited") told.resolve(performance.now());
  }
}

function pidOf(words: readonly string[]): number {
  const wanted = `${words.join("\0")}\0`;
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8") === wanted) return Number(pid);
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`there is no process "${words.join(" ")}"`);
}
