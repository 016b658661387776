/** Real kubectl of several releases against the agent's streams; a few lines stand in for the API server. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Server } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import os from "node:os";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import type { AgentView } from "../../agent/model.ts";
import { FakeRuntime } from "../../agent/runtime/fake.ts";
import { fakeView } from "../../agent/server/fake-view.ts";
import { defaultStreamLimits } from "../../agent/server/stream-limits.ts";
import { serveUpgrade } from "../../agent/server/upgrades.ts";
import { chooseKubectls } from "../support/kubectl.ts";

/** From 1.29 on over WebSocket where it can be, from 1.31 on by default. */
const wanted = (process.env["KUBECTLS"] ?? "1.27,1.28,1.29,1.30,1.31,1.32,1.33").split(",");
const { chosen, missing } = chooseKubectls(wanted);
const skip = chosen.length === 0 && `needs kubectl ${wanted.join(", ")}, or any other`;
t.setTimeout(240_000);

for (const version of missing) t.test(`kubectl ${version}`, { skip: `needs kubectl ${version}` }, () => {});

t.test("kubectl execs, attaches and forwards ports", { skip }, async (t) => {
  const signal = AbortSignal.timeout(230_000);
  const runtime = new FakeRuntime(systemClock);
  const awake = setInterval(() => {}, 1_000);
  const view = await fakeView(runtime, "nc -ll -p 8080 -e /bin/cat", "/nowhere", signal);
  const upgrades: string[] = [];
  const server = createServer((request, response) => {
    const answer = answers(view)[(request.url ?? "").split("?")[0] ?? ""];
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? {}));
  });
  server.on("upgrade", (request, socket, head) => {
    upgrades.push(request.headers["sec-websocket-protocol"] ?? "SPDY");
    const url = new URL(request.url ?? "", "http://node");
    const action = url.pathname.split("/").at(-1)?.replace("portforward", "portForward");
    const container = action === "portForward" ? "" : "/main";
    url.pathname = `/${action}/default/web${container}`;
    const serve = async (): Promise<void> => {
      if (action !== "attach") {
        await serveUpgrade(
          { view, runtime, limits: defaultStreamLimits },
          url,
          request,
          socket,
          head,
          signal,
        );
        return;
      }
      // A container that speaks once somebody has joined it, and ends.
      const speaking = new FakeRuntime(systemClock);
      const ports = {
        view: await fakeView(speaking, "sleep 1; echo hello; exit 0", "/nowhere", signal),
        runtime: speaking,
        limits: defaultStreamLimits,
      };
      await serveUpgrade(ports, url, request, socket, head, signal);
      await speaking.close();
    };
    serve().catch((cause: unknown) => {
      console.error(cause);
      socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  for (const { version: release, file } of chosen) {
    const kubectl = (args: readonly string[], input: Buffer = Buffer.alloc(0)): Promise<Result> =>
      runKubectl(file, [`--server=http://127.0.0.1:${port}`, ...args], input);
    const plain = await kubectl([
      "exec",
      "web",
      "-c",
      "main",
      "--",
      "sh",
      "-c",
      "echo out; echo err >&2; exit 3",
    ]);
    t.match(
      plain,
      { code: 3, stdout: "out\n", stderr: /err\n/ },
      `${release}: exec tells output and exit code`,
    );
    const big = randomBytes(300_000).toString("base64");
    const copied = await kubectl(["exec", "-i", "web", "-c", "main", "--", "cat"], Buffer.from(big));
    t.equal(copied.code, 0, `${release}: exec -i ends with its stdin`);
    t.ok(copied.stdout === big, `${release}: and gives back what it was given`);
    const missing = await kubectl(["exec", "web", "-c", "main", "--", "nonsense"]);
    t.equal(missing.code, 127, `${release}: a command that is not there`);
    const attached = await kubectl(["attach", "web", "-c", "main"]);
    t.match(
      attached,
      { code: 0, stdout: "hello\n" },
      `${release}: attach shows what is said, and ends with it`,
    );
    t.equal(await forward(file, port), "echo", `${release}: port-forward carries bytes`);
    const protocol = Number(release.slice(2)) < 31 ? "SPDY" : "SPDY/3.1+portforward.k8s.io";
    t.equal(upgrades.at(-1), protocol, `${release}: without falling back`);
  }
  clearInterval(awake);
  server.close();
  server.closeAllConnections();
  await runtime.close();
});

/** As much of an API as kubectl asks about before it opens a stream. */
function answers(view: AgentView): Readonly<Record<string, object>> {
  const pods = { name: "pods", singularName: "pod", namespaced: true, kind: "Pod", verbs: ["get"] };
  return {
    "/api": { kind: "APIVersions", versions: ["v1"] },
    "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: [] },
    "/api/v1": { kind: "APIResourceList", groupVersion: "v1", resources: [pods] },
    "/api/v1/namespaces/default/pods/web": { apiVersion: "v1", kind: "Pod", ...view.pods()[0] },
  };
}

async function forward(program: string, apiPort: number): Promise<string> {
  const args = [`--server=http://127.0.0.1:${apiPort}`, "port-forward", "web", ":8080"];
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { HOME: os.tmpdir() },
  });
  try {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    let local: number | undefined;
    for (let tries = 0; tries < 200 && local === undefined; tries += 1) {
      await delay(50);
      const found = /127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (found !== undefined) local = Number(found);
    }
    const socket = connect(local ?? 0, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("echo");
    const [answer] = (await Promise.race([
      once(socket, "data"),
      delay(10_000, ["nothing came"], { ref: false }),
    ])) as unknown[];
    socket.destroy();
    return String(answer);
  } finally {
    child.kill();
  }
}

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function runKubectl(program: string, args: readonly string[], input: Buffer): Promise<Result> {
  const child = spawn(program, args, { env: { HOME: os.tmpdir() } });
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("latin1");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  await once(child, "close");
  clearTimeout(timer);
  return { code: child.exitCode, stdout, stderr };
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
