import { chmod, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { noLog } from "#lib/log.ts";
import { serveLocalSocket } from "./local-socket.ts";

async function place(t: Test): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "socket-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return path.join(folder, "run/agent.sock");
}

function serve(t: Test, file: string, body: string): { readonly stop: () => Promise<void> } {
  const stop = new AbortController();
  const ended = serveLocalSocket(file, () => ({ status: 200, type: "text/plain", body }), noLog, stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  ended.catch(() => undefined);
  t.teardown(end);
  return { stop: end };
}

async function ask(file: string, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  http
    .get({ socketPath: file, path: "/", headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
      response.on("end", () => resolve(`${response.statusCode} ${text}`));
    })
    .once("error", reject);
  return await promise;
}

async function untilAnswered(file: string): Promise<string> {
  for (;;) {
    try {
      return await ask(file);
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

t.test("the local socket is for its owner only, and goes with the agent", async (t) => {
  const file = await place(t);
  const served = serve(t, file, "here");
  t.equal(await untilAnswered(file), "200 here");
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.same(await readdir(path.dirname(file)), ["agent.sock"], "nothing else is left beside it");
  await served.stop();
  await t.rejects(stat(file), { code: "ENOENT" });
});

t.test("a socket that a dead agent left is replaced, one that is answered is not", async (t) => {
  const file = await place(t);
  const first = serve(t, file, "first");
  await untilAnswered(file);
  const second = serveLocalSocket(
    file,
    () => ({ status: 200, type: "text/plain", body: "second" }),
    noLog,
    AbortSignal.timeout(10_000),
  );
  await t.rejects(second, { message: /another agent answers there/ });
  t.equal(await ask(file), "200 first");
  await first.stop();

  const dead = net.createServer().listen(path.join(path.dirname(file), "dead.sock"));
  await new Promise((resolve) => dead.once("listening", resolve));
  // What a killed process leaves: a socket that nobody listens on.
  const { rename } = await import("node:fs/promises");
  await rename(path.join(path.dirname(file), "dead.sock"), file);
  await new Promise((resolve) => dead.close(resolve));
  t.ok((await stat(file)).isSocket());
  serve(t, file, "next");
  t.equal(await untilAnswered(file), "200 next");
});

t.test("what is too large or nonsense is refused, and the socket goes on", async (t) => {
  const file = await place(t);
  serve(t, file, "here");
  await untilAnswered(file);
  t.match(await ask(file, { large: "x".repeat(10_000) }), /^431/);
  const nonsense = net.connect(file);
  const said = new Promise<string>((resolve) => nonsense.once("data", (chunk) => resolve(chunk.toString())));
  nonsense.write("\0\0 nonsense\r\n\r\n");
  t.match(await said, /^HTTP\/1.1 400/);
  t.equal(await ask(file), "200 here");
});

t.test(
  "sixteen may be connected at once, the next is turned away and those who leave make room",
  async (t) => {
    const file = await place(t);
    serve(t, file, "here");
    await untilAnswered(file);
    const idle = Array.from({ length: 16 }, () => net.connect(file));
    await Promise.all(idle.map((one) => new Promise((resolve) => one.once("connect", resolve))));
    await t.rejects(ask(file));
    for (const one of idle) one.destroy();
    t.equal(await untilAnswered(file), "200 here");
  },
);

t.test("a place that cannot be is refused with what to do", async (t) => {
  const file = await place(t);
  const signal = AbortSignal.timeout(10_000);
  const answer = () => ({ status: 200, type: "text/plain", body: "" }) as const;
  await t.rejects(serveLocalSocket(`/${"x".repeat(120)}`, answer, noLog, signal), { message: /too long/ });
  await chmod(path.dirname(path.dirname(file)), 0o700);
  await t.rejects(serveLocalSocket("/proc/nowhere/agent.sock", answer, noLog, signal), {
    message: /cannot|choose another/,
  });
});
