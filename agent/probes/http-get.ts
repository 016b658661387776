import http from "node:http";
import https from "node:https";

/** One GET as probes and hooks do it. */
export interface HttpGet {
  readonly url: URL;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly userAgent: string;
  readonly timeoutMs: number;
}

/** The answer, its body cut at 10 KiB. `redirectedAway`: it pointed to another host, which is not asked. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  readonly redirectedAway: string | undefined;
}

const maxBodyBytes = 10 * 1024;
const maxRedirects = 10;

/**
 * Sends the GET on a connection of its own, without proxy and without checking certificates, and follows
 * redirects on the same host.
 * @throws Error in the words users know: `Get "http://...": dial tcp ...: connect: connection refused`.
 */
export async function httpGet(get: HttpGet, signal: AbortSignal): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(get.timeoutMs);
  const either = AbortSignal.any([signal, deadline]);
  let url = get.url;
  for (let redirects = 0; ; redirects += 1) {
    let response: http.IncomingMessage;
    try {
      response = await send(url, get, either);
    } catch (cause) {
      signal.throwIfAborted();
      throw new Error(
        `Get "${url.href}": ${deadline.aborted ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)" : reason(cause, url)}`,
        { cause },
      );
    }
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status < 300 || status >= 400 || status === 304 || location === undefined) {
      return { status, body: await readBody(response), redirectedAway: undefined };
    }
    response.destroy();
    const next = new URL(location, url);
    if (next.hostname !== get.url.hostname) return { status, body: "", redirectedAway: next.href };
    if (redirects >= maxRedirects)
      throw new Error(`Get "${next.href}": stopped after ${maxRedirects} redirects`);
    url = next;
  }
}

function send(url: URL, get: HttpGet, signal: AbortSignal): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const headers: Record<string, string | string[]> = {
    "user-agent": get.userAgent,
    accept: "*/*",
    connection: "close",
  };
  for (const { name, value } of get.headers) {
    const key = name.toLowerCase();
    const before = headers[key];
    if (value === "" && (key === "accept" || key === "user-agent")) delete headers[key];
    else if (before === undefined || key === "host" || key === "user-agent" || key === "accept")
      headers[key] = value;
    else headers[key] = [...(Array.isArray(before) ? before : [before]), value];
  }
  const options = { method: "GET", headers, agent: false, signal } as const;
  const request =
    url.protocol === "https:"
      ? https.request(url, { ...options, rejectUnauthorized: false })
      : http.request(url, options);
  request.once("response", resolve);
  request.once("error", reject);
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

function reason(cause: unknown, url: URL): string {
  const place = `${url.hostname}:${url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port}`;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ECONNREFUSED") return `dial tcp ${place}: connect: connection refused`;
  if (code === "EHOSTUNREACH") return `dial tcp ${place}: connect: no route to host`;
  if (code === "ENETUNREACH") return `dial tcp ${place}: connect: network is unreachable`;
  if (code === "ECONNRESET") return "EOF";
  return cause instanceof Error ? cause.message : String(cause);
}
