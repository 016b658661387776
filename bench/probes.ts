/**
 * `node bench/probes.ts`: a thousand probes a second, half HTTP and half TCP, as a node with that many containers has
 * them, by the agent's own prober against a server in a process of its own, over loopback addresses.
 *
 * Method: each probe has an address of its own, so that the server knows it by where it arrived. A probe's drift is the
 * difference between an arrival and the place that its first arrival and its period give it. CPU is the prober's process.
 * Nothing here passes or fails.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "#lib/clock.ts";
import { Prober } from "../agent/probes/prober.ts";
import { FakeRuntime } from "../agent/runtime/fake.ts";

const probes = 1_000;
const periodSeconds = 1;
const seconds = Number(process.env["SECONDS"] ?? 30);

interface Arrivals {
  readonly count: number;
  readonly driftMs: readonly number[];
  readonly silent: number;
}

if (process.argv[2] === "server") await serve();
else await measure();

async function measure(): Promise<void> {
  const server = fork(import.meta.filename, ["server"]);
  const [ports] = (await once(server, "message")) as [{ readonly http: number; readonly tcp: number }];
  const failures: string[] = [];
  const prober = new Prober({
    runtime: new FakeRuntime(systemClock),
    clock: systemClock,
    random: Math.random,
    changed: () => {},
    event: (_, reason, message) => failures.push(`${reason} ${message}`),
  });
  for (let i = 0; i < probes; i += 1) {
    const readinessProbe =
      i % 2 === 0
        ? { periodSeconds, httpGet: { port: ports.http, path: "/ready" } }
        : { periodSeconds, tcpSocket: { port: ports.tcp } };
    // Old containers, so that their first probes are spread as after a restart of the agent.
    prober.track(`pod-${i}`, [
      {
        podUid: `pod-${i}`,
        containerId: `container-${i}`,
        container: { name: "web", readinessProbe },
        podIp: `127.1.${i >> 8}.${i & 255}`,
        startedAtMs: Date.now() - 3_600_000,
        known: undefined,
        ending: false,
      },
    ]);
  }
  await delay(5_000); // compiled and spread
  server.send("begin");
  const before = process.cpuUsage();
  const began = performance.now();
  await delay(seconds * 1_000);
  const cpu = process.cpuUsage(before);
  const took = (performance.now() - began) / 1_000;
  server.send("end");
  const [{ count, driftMs, silent }] = (await once(server, "message")) as [Arrivals];
  prober.close();
  const at = (share: number): string => (driftMs[Math.floor(share * (driftMs.length - 1))] ?? 0).toFixed(1);
  const rss = process.memoryUsage().rss / 1024 ** 2;
  console.log(`| probes asked, ${probes} of them each second | ${(count / took).toFixed(0)} a second |`);
  console.log(
    `| drift from the pace of its first one | p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms |`,
  );
  console.log(
    `| CPU of the prober | ${(((cpu.user + cpu.system) / 1e6 / took) * 100).toFixed(0)} % of a core, ${rss.toFixed(0)} MB resident |`,
  );
  console.log(`| probes that failed, that never came | ${failures.length}, ${silent} |`);
  server.disconnect();
}

/** Answers everything, and notes what came when at which address. */
async function serve(): Promise<void> {
  const arrivals = new Map<string, number[]>();
  let counting = false;
  const note = (socket: net.Socket): void => {
    if (!counting) return;
    const address = socket.localAddress ?? "";
    const times = arrivals.get(address) ?? [];
    times.push(performance.now());
    arrivals.set(address, times);
  };
  const web = http.createServer((_, response) => response.end("ok"));
  web.on("connection", note);
  const tcp = net.createServer((socket) => {
    note(socket);
    socket.on("error", () => {}).resume();
  });
  const listen = async (server: net.Server): Promise<number> => {
    server.listen({ port: 0, host: "0.0.0.0", backlog: 4_096 });
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  };
  process.send?.({ http: await listen(web), tcp: await listen(tcp) });
  process.on("message", (message) => {
    counting = message === "begin";
    if (counting) return;
    const driftMs = [...arrivals.values()].flatMap(([first = 0, ...later]) =>
      later.map((at) => {
        const periods = (at - first) / (periodSeconds * 1_000);
        return Math.abs(periods - Math.round(periods)) * periodSeconds * 1_000;
      }),
    );
    const count = [...arrivals.values()].reduce((sum, times) => sum + times.length, 0);
    process.send?.({
      count,
      driftMs: driftMs.toSorted((a, b) => a - b),
      silent: probes - arrivals.size,
    });
  });
  process.once("disconnect", () => process.exit());
}
