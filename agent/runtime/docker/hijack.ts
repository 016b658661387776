import { request } from "node:http";
import type { Duplex } from "node:stream";
import { RuntimeError } from "../runtime.ts";

/** Posts to Docker and takes the connection over: exec and attach. Each half of it ends alone. */
export function hijack(socketPath: string, path: string, body: object, signal: AbortSignal): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const text = JSON.stringify(body);
  const sent = request({
    socketPath,
    path,
    method: "POST",
    agent: false,
    signal,
    headers: {
      connection: "Upgrade",
      upgrade: "tcp",
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
    },
  });
  sent.once("upgrade", (_response, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    socket.on("error", () => {});
    resolve(socket);
  });
  sent.once("response", (response) => {
    response.setEncoding("utf8");
    let answer = "";
    response.on("data", (chunk: string) => {
      answer = (answer + chunk).slice(0, 4_096);
    });
    response.once("end", () => {
      const code =
        response.statusCode === 404 ? "not-found" : response.statusCode === 409 ? "invalid" : "failed";
      reject(new RuntimeError(code, `Docker refused to open streams: ${answer.trim()}`));
    });
  });
  sent.once("error", (cause) =>
    reject(new RuntimeError("unavailable", `cannot reach Docker: ${cause.message}`, { cause })),
  );
  sent.end(text);
  return promise;
}
