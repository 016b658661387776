import http from "node:http";
import https from "node:https";

/** One GET as probes and hooks do it. */
export interface HttpGet {
  readonly url: URL;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly userAgent: string;
  /** For everything until the headers of the last answer and its body; undefined for no limit but the signal. */
  readonly timeoutMs: number | undefined;
}

/** The answer, its body cut at 10 KiB. One that redirects is the last word when it points to another host. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** A GET that got no answer. `http-answer`: an HTTPS request was answered in plain HTTP. */
export class HttpGetError extends Error {
  override readonly name = "HttpGetError";
  readonly code: "http-answer" | "failed";

  constructor(code: HttpGetError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const maxBodyBytes = 10 * 1024;
const maxRedirects = 10;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** What OpenSSL makes of an answer that begins with `HTTP/`. */
const plainAnswers: ReadonlySet<string> = new Set([
  "EPROTO",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
  "ERR_SSL_HTTP_REQUEST",
]);

/**
 * Sends the GET on a connection of its own, without proxy and without checking certificates, and follows
 * redirects on the same host.
 * @throws {HttpGetError} in the words users know: `Get "http://...": dial tcp ...: connect: connection refused`.
 */
export async function httpGet(get: HttpGet, signal: AbortSignal): Promise<HttpAnswer> {
  const deadline = get.timeoutMs === undefined ? undefined : AbortSignal.timeout(get.timeoutMs);
  const either = deadline === undefined ? signal : AbortSignal.any([signal, deadline]);
  let url = get.url;
  let headers = headersOf(get);
  for (let count = 0; ; count += 1) {
    let response: http.IncomingMessage;
    try {
      response = await send(url, headers, either);
    } catch (cause) {
      signal.throwIfAborted();
      throw failure(cause, url, deadline?.aborted === true);
    }
    const status = response.statusCode ?? 0;
    const next = redirects.has(status) ? target(response.headers.location, url) : undefined;
    if (next === undefined || next.hostname !== get.url.hostname) {
      return { status, body: await readBody(response) };
    }
    response.destroy();
    if (count >= maxRedirects) {
      throw new HttpGetError("failed", `Get "${next.href}": stopped after ${maxRedirects} redirects`);
    }
    // A place named in full says which host it means.
    if (/^[a-z][a-z0-9+.-]*:/i.test(response.headers.location ?? "")) headers = without(headers, "host");
    url = next;
  }
}

/** The caller's headers, and ours where it gives none. An empty Accept or User-Agent asks for none. */
function headersOf({ headers, userAgent }: HttpGet): Readonly<Record<string, readonly string[]>> {
  const all: Record<string, string[]> = {};
  for (const { name, value } of headers) (all[name.toLowerCase()] ??= []).push(value);
  all["user-agent"] ??= [userAgent];
  all["accept"] ??= ["*/*"];
  for (const name of ["accept", "user-agent", "host"]) if (all[name]?.[0] === "") delete all[name];
  return { ...all, connection: ["close"] };
}

function send(
  url: URL,
  headers: Readonly<Record<string, readonly string[]>>,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const flat = Object.entries(headers).map(([name, values]): [string, string | string[]] => [
    name,
    values.length === 1 ? (values[0] ?? "") : [...values],
  ]);
  const options = { method: "GET", headers: Object.fromEntries(flat), agent: false, signal } as const;
  const request =
    url.protocol === "https:"
      ? https.request(url, { ...options, rejectUnauthorized: false })
      : http.request(url, options);
  request.once("response", resolve);
  request.on("error", reject);
  // An answer with 101 is no response to Node: the connection would be left to us, and nobody would be told.
  request.once("upgrade", (_response, socket) => {
    socket.destroy();
    reject(new Error("the server switched protocols"));
  });
  request.once("close", () => reject(new Error("the connection was closed before an answer")));
  request.end();
  return promise;
}

async function readBody(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      chunks.push(bytes);
      length += bytes.length;
      if (length >= maxBodyBytes) break;
    }
  } catch {
    // The status is the answer; a body that breaks off does not change it.
  } finally {
    response.destroy();
  }
  return Buffer.concat(chunks).subarray(0, maxBodyBytes).toString("utf8");
}

function target(location: string | undefined, from: URL): URL | undefined {
  return location !== undefined && URL.canParse(location, from.href)
    ? new URL(location, from.href)
    : undefined;
}

function without(
  headers: Readonly<Record<string, readonly string[]>>,
  name: string,
): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
}

function failure(cause: unknown, url: URL, isLate: boolean): HttpGetError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const isPlain = url.protocol === "https:" && plainAnswers.has(code);
  const why = isLate
    ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    : isPlain
      ? "http: server gave HTTP response to HTTPS client"
      : reason(cause, code, url);
  return new HttpGetError(isPlain ? "http-answer" : "failed", `Get "${url.href}": ${why}`, { cause });
}

function reason(cause: unknown, code: string, url: URL): string {
  const place = `${url.hostname}:${url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port}`;
  if (code === "ECONNREFUSED") return `dial tcp ${place}: connect: connection refused`;
  if (code === "EHOSTUNREACH") return `dial tcp ${place}: connect: no route to host`;
  if (code === "ENETUNREACH") return `dial tcp ${place}: connect: network is unreachable`;
  if (code === "ECONNRESET") return "EOF";
  return cause instanceof Error ? cause.message : String(cause);
}
