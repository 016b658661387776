import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { createServer, get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { collectGarbage } from "../../test/support/collect-garbage.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { writeContainerLog } from "./container-log.ts";
import { fakeView } from "./fake-view.ts";

const signal = AbortSignal.timeout(100_000);

t.test("agent §2.4: a log in which nothing is yet is answered at once, and told as it comes", async (t) => {
  const { url, file } = await logServer(t);
  const response = await follow(url);
  t.equal(response.statusCode, 200, "before there is a line");
  const first = once(response, "data");
  await appendFile(file, "2026-01-01T00:00:00Z stdout F hello\n");
  t.equal(String(await first), "hello\n");
  response.destroy();
  await untilClosed(file);
  t.pass("nothing is open when the client has gone");
});

t.test("agent §2.4: a client that stops reading a log stops the reading, not our memory", async (t) => {
  const { url, file } = await logServer(t);
  const response = await follow(url);
  const line = `2026-01-01T00:00:00Z stdout F ${"x".repeat(1_000)}\n`;
  const before = liveBytes();
  for (let count = 0; count < 60; count += 1) await appendFile(file, line.repeat(1_000));
  // The client's side is in this process, too: what it has taken without reading counts as well.
  for (let turn = 0; turn < 50; turn += 1) await systemClock.sleep(5, signal);
  const more = liveBytes() - before;
  t.ok(more < 16_000_000, `${(more / 1e6).toFixed(1)} MB of 60 MB wait`);
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  while (bytes < 60 * 1_000 * 1_001) await systemClock.sleep(5, signal);
  t.equal(bytes, 60 * 1_000 * 1_001, "all of it comes when it is read");
  response.destroy();
  await untilClosed(file);
});

/** A node that serves one log, which is empty. */
async function logServer(t: Test): Promise<{ readonly url: string; readonly file: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "keelson-log-"));
  const runtime = new FakeRuntime(systemClock);
  const awake = setInterval(() => {}, 1_000);
  const view = await fakeView(runtime, "sleep 600", folder, signal);
  const file = path.join(folder, "main/0.log");
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, "");
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.once("close", () => gone.abort(new Error("the client has left")));
    const { searchParams } = new URL(request.url ?? "", "http://node");
    const names = { namespace: "default", pod: "web", uid: undefined, container: "main" };
    writeContainerLog(view, names, searchParams, response, systemClock, gone.signal).catch((cause: unknown) =>
      response.destroy(cause instanceof Error ? cause : undefined),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(async () => {
    server.close();
    server.closeAllConnections();
    await runtime.close();
    clearInterval(awake);
    await rm(folder, { recursive: true });
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}/?follow=true`, file };
}

async function follow(url: string): Promise<IncomingMessage> {
  const sent = get(url, { agent: false });
  const [response] = (await once(sent, "response", { signal: AbortSignal.timeout(30_000) })) as [
    IncomingMessage,
  ];
  response.on("error", () => {});
  return response;
}

/** Resolves when this process has the file open no more. */
async function untilClosed(file: string): Promise<void> {
  const isOpen = async (): Promise<boolean> => {
    const links = (await readdir("/proc/self/fd")).map((fd) =>
      readlink(`/proc/self/fd/${fd}`).catch(() => ""),
    );
    return (await Promise.all(links)).includes(file);
  };
  while (await isOpen()) await systemClock.sleep(10, signal);
}

/** What is in use, garbage not counted. */
function liveBytes(): number {
  collectGarbage();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}
