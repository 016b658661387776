import { once } from "node:events";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";
import { systemClock } from "#lib/clock.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { fakeView } from "./fake-view.ts";
import { HttpError } from "./http-error.ts";
import { defaultStreamLimits, type StreamLimits } from "./stream-limits.ts";
import { serveUpgrade } from "./upgrades.ts";

/** A node of a test that serves streams without TLS; its only Pod, `default/web`, echoes on port 8080. */
export interface StreamNode extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Aborted with the node. */
  readonly signal: AbortSignal;
  readonly runtime: FakeRuntime;
  /** Upgraded connections that are served now. */
  readonly served: () => number;
}

/** Starts one. @param runtime another than the usual. */
export async function streamNode(
  limits: StreamLimits = defaultStreamLimits,
  runtime: FakeRuntime = new FakeRuntime(systemClock),
): Promise<StreamNode> {
  const stop = new AbortController();
  const awake = setInterval(() => {}, 1_000);
  const view = await fakeView(runtime, "nc -ll -p 8080 -e /bin/cat", "/nowhere", stop.signal);
  const sandboxId = view.podByUid("uid-web")?.sandboxId ?? "";
  for (let listens = false; !listens; await systemClock.sleep(1, stop.signal))
    listens = await runtime.portForward(sandboxId, 8080, stop.signal).then(
      (socket) => socket.destroy() !== undefined,
      () => false,
    );
  const server = createServer();
  const sockets = new Set<Duplex>();
  let served = 0;
  server.on("upgrade", (request, socket, head) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    const url = new URL(request.url ?? "", "http://node");
    served += 1;
    serveUpgrade({ view, runtime, limits }, url, request, socket, head, stop.signal)
      .catch((cause: unknown) => {
        const { status, message } =
          cause instanceof HttpError ? cause : { status: 500, message: String(cause) };
        const length = Buffer.byteLength(message);
        socket.end(
          `HTTP/1.1 ${status} no\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n${message}`,
        );
      })
      .finally(() => {
        served -= 1;
      });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    host: `127.0.0.1:${port}`,
    signal: stop.signal,
    runtime,
    served: () => served,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      for (const socket of sockets) socket.destroy();
      server.close();
      await runtime.close();
      clearInterval(awake);
    },
  };
}

/** All of a stream. */
export async function textOf(stream: Duplex): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}
