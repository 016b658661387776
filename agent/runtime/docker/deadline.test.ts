import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
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
    const runtime = await DockerRuntime.connect(`${folder}/docker.sock`, network, signal, 200);
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
