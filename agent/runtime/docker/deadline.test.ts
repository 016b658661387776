import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import t from "tap";
import { DockerRuntime } from "./docker-runtime.ts";

t.test(
  "a Docker that does not answer is given up after its time, and a stop after the grace too",
  async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "docker-"));
    const server = http.createServer((request, response) => {
      if (/\/version/.test(request.url ?? "")) {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ ApiVersion: "1.41", Version: "20.10.0" }));
      }
    });
    server.listen(`${folder}/docker.sock`);
    await once(server, "listening");
    t.teardown(async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    });
    const network = {
      ready: async () => ({ ready: true as const }),
      add: async () => ({ ips: [] }),
      delete: async () => {},
      addresses: async () => [],
    };
    const signal = AbortSignal.timeout(10_000);
    const runtime = await DockerRuntime.connect(`${folder}/docker.sock`, network, signal, { callMs: 200 });
    const measured = async (call: () => Promise<unknown>): Promise<number> => {
      const began = performance.now();
      await t.rejects(call(), { name: "RuntimeError" });
      return performance.now() - began;
    };
    const listed = await measured(() => runtime.listContainers({}, signal));
    t.ok(listed > 150 && listed < 2_000, `${listed} ms`);
    const stopped = await measured(() => runtime.stopContainer("c", 1, signal));
    t.ok(stopped > 1_100 && stopped < 3_000, `${stopped} ms`);
  },
);

for (const step of ["create", "start", "inspect"]) {
  t.test(`agent §4.2: a command's time covers a Docker that hangs at its ${step}`, async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "docker-"));
    const sockets = new Set<Duplex>();
    const asked: string[] = [];
    const server = http.createServer((request, response) => {
      const url = request.url ?? "";
      const answer = (body: object): void => {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(body));
      };
      if (url.includes("/version")) answer({ ApiVersion: "1.41", Version: "20.10.0" });
      else if (url.endsWith("/containers/c/exec")) {
        asked.push("create");
        response.statusCode = 201;
        if (step !== "create") answer({ Id: "e" });
      } else asked.push("inspect");
    });
    server.on("upgrade", (_request, socket) => {
      asked.push("start");
      // The command is over at once; only its code is still to be told.
      if (step === "inspect")
        socket.end("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    });
    server.on("connection", (socket) => sockets.add(socket));
    server.listen(`${folder}/docker.sock`);
    await once(server, "listening");
    t.teardown(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await rm(folder, { recursive: true });
    });
    const network = {
      ready: async () => ({ ready: true as const }),
      add: async () => ({ ips: [] }),
      delete: async () => {},
      addresses: async () => [],
    };
    const signal = AbortSignal.timeout(20_000);
    const runtime = await DockerRuntime.connect(`${folder}/docker.sock`, network, signal);
    const began = performance.now();
    const options = { timeoutMs: 300, maxOutputBytes: 1_024 };
    await t.rejects(runtime.execSync("c", ["true"], options, signal), { code: "unavailable" });
    const took = performance.now() - began;
    t.ok(took > 250 && took < 5_000, `${took} ms`);
    t.ok(asked.includes(step), `asked for ${asked.join(", ")}`);
  });
}
