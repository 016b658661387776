import http from "node:http";

/** An agent answers from its memory: what takes longer hangs. */
const timeoutMs = 10_000;
const maxAnswerBytes = 8 * 1_024 * 1_024;

/** What the agent of this machine answered. */
export interface AgentAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Asks the agent of this machine over its local socket.
 * @param target path and query, `/v1/explain?pod=web`.
 * @throws Error that says what to do: no agent, not root, no answer.
 */
export async function askAgent(
  socket: string,
  method: "GET" | "POST",
  target: string,
  signal: AbortSignal,
): Promise<AgentAnswer> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const { promise, resolve, reject } = Promise.withResolvers<AgentAnswer>();
  const request = http.request({ socketPath: socket, method, path: target, signal: deadline }, (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) request.destroy(new Error("the answer has no end"));
      else chunks.push(chunk);
    });
    response.once("error", reject);
    response.once("end", () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
    );
  });
  request.once("error", reject);
  request.end();
  try {
    return await promise;
  } catch (cause) {
    throw new Error(`cannot ask the agent at "${socket}": ${whyNot(cause, signal)}`, { cause });
  }
}

function whyNot(cause: unknown, signal: AbortSignal): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "EACCES" || code === "EPERM") return "only root may; run it with sudo";
  if (code === "ENOENT" || code === "ECONNREFUSED")
    return "no agent listens there; is it running (keelson status)? another place is named with --control-socket";
  if (!signal.aborted && cause instanceof Error && cause.name === "AbortError")
    return `it has not answered for ${timeoutMs / 1_000}s; it may be stuck or starved: look at its log`;
  return "the connection broke off";
}
