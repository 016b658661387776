import { chmod, lstat, mkdtemp, rename, rm } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { errorText, type Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";

/** One question on the local socket. */
export interface LocalRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Its answer; a status from 400 on has a message for its user as body. */
export interface LocalAnswer {
  readonly status: number;
  readonly type: "text/plain" | "application/json" | "image/svg+xml";
  readonly body: string;
}

const maxConnections = 16;
const maxHeaderBytes = 8 * 1_024;
const timeoutMs = 5_000;
/** sun_path of unix(7), with its end. */
const maxPathBytes = 107;

/**
 * Answers on a unix socket that only root may use, until the signal. A socket that an agent which died has left is
 * replaced; one that somebody answers on is not.
 * @throws Error when it cannot be made, with what to do.
 */
export async function serveLocalSocket(
  file: string,
  answer: (request: LocalRequest) => LocalAnswer,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (Buffer.byteLength(file) > maxPathBytes - 16)
    throw new Error(
      `cannot listen on "${file}": the path is too long for a socket; choose a shorter --control-socket`,
    );
  if (await isAnswered(file))
    throw new Error(
      `cannot listen on "${file}": another agent answers there; stop it, or choose another --control-socket`,
    );
  const server = http.createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      connectionsCheckingInterval: timeoutMs,
      keepAlive: false,
    },
    (request, response) => {
      request.resume(); // no question has a body; node drops what is sent of one
      const { status, type, body } = answered(request, answer, log);
      response.writeHead(status, { "content-type": `${type}; charset=utf-8`, connection: "close" }).end(body);
    },
  );
  server.maxConnections = maxConnections;
  const own = await listen(server, file);
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  server.on("error", (cause) => log.warn("the local socket failed", { cause }));
  await stopped.promise;
  server.close();
  server.closeAllConnections();
  // The next agent may have put its own there already.
  if ((await inodeOf(file)) === own) await rm(file, { force: true });
}

/** Made in a folder of its own that nobody else may enter, and moved when only root may use it. @returns its inode. */
async function listen(server: http.Server, file: string): Promise<bigint | undefined> {
  const folder = path.dirname(file);
  await makeFolder(folder, 0o755);
  const safe = await mkdtemp(path.join(folder, "."));
  try {
    const made = path.join(safe, "s");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(made, resolve);
    await promise;
    server.off("error", reject);
    await chmod(made, 0o600);
    await rename(made, file);
    return await inodeOf(file);
  } catch (cause) {
    server.close();
    throw new Error(`cannot listen on "${file}": ${errorText(cause)}; choose another --control-socket`, {
      cause,
    });
  } finally {
    await rm(safe, { recursive: true, force: true });
  }
}

function answered(
  request: http.IncomingMessage,
  answer: (request: LocalRequest) => LocalAnswer,
  log: Log,
): LocalAnswer {
  try {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://agent");
    return answer({ method: request.method ?? "", path: pathname, query: searchParams });
  } catch (cause) {
    log.error("cannot answer on the local socket", { url: request.url, cause });
    return { status: 500, type: "text/plain", body: `the agent could not answer: ${errorText(cause)}\n` };
  }
}

async function isAnswered(file: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = net.connect(file);
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

async function inodeOf(file: string): Promise<bigint | undefined> {
  return await lstat(file, { bigint: true }).then(
    ({ ino }) => ino,
    () => undefined,
  );
}
