import net from "node:net";
import type { Container, Probe } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { expand } from "../plan/expand.ts";
import { portNumber } from "../plan/probe-verdict.ts";
import { type Runtime, RuntimeError } from "../runtime/runtime.ts";
import { httpGet } from "./http-get.ts";
import { probeUserAgent } from "./user-agent.ts";

/** What a probe found. `unknown`: it could not be asked, which counts as nothing. */
export interface ProbeAnswer {
  readonly outcome: "success" | "failure" | "unknown";
  readonly output: string;
  /** A success that deserves a ProbeWarning. */
  readonly warning?: string;
}

/** Whom a probe asks. */
export interface ProbeTarget {
  readonly containerId: string;
  readonly container: Container;
  readonly podIp: string;
}

const maxOutputBytes = 10 * 1024;

/** Asks once. Never throws but for the signal. */
export async function runProbe(
  probe: Probe,
  target: ProbeTarget,
  runtime: Runtime,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const timeoutMs = Math.max(1, probe.timeoutSeconds ?? 1) * 1_000;
  try {
    if (probe.exec !== undefined)
      return await askExec(probe.exec.command ?? [], target, timeoutMs, runtime, signal);
    if (probe.httpGet !== undefined) return await askHttp(probe.httpGet, target, timeoutMs, signal);
    if (probe.tcpSocket !== undefined) {
      const { host, port } = probe.tcpSocket;
      const name = host === undefined || host === "" ? target.podIp : host;
      return await askTcp(name, portOf(target.container, port), timeoutMs, signal);
    }
    if (probe.grpc !== undefined)
      return await askGrpc(
        `${hostPart(target.podIp)}:${probe.grpc.port}`,
        probe.grpc.service ?? "",
        timeoutMs,
        signal,
      );
    return { outcome: "unknown", output: `missing probe handler for ${target.container.name}` };
  } catch (cause) {
    signal.throwIfAborted();
    return { outcome: "unknown", output: errorText(cause) };
  }
}

async function askExec(
  command: readonly string[],
  target: ProbeTarget,
  timeoutMs: number,
  runtime: Runtime,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const env = new Map((target.container.env ?? []).map(({ name, value }) => [name, value]));
  const words = command.map((word) => expand(word, (name) => env.get(name)));
  try {
    const { exitCode, stdout, stderr } = await runtime.execSync(
      target.containerId,
      words,
      { timeoutMs, maxOutputBytes },
      signal,
    );
    const output = (Buffer.from(stdout).toString("utf8") + Buffer.from(stderr).toString("utf8")).slice(
      0,
      maxOutputBytes,
    );
    return { outcome: exitCode === 0 ? "success" : "failure", output };
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof RuntimeError && cause.code === "timeout") {
      return {
        outcome: "failure",
        output: `command timed out: "${words.join(" ")}" timed out after ${timeoutMs / 1_000}s`,
      };
    }
    throw cause;
  }
}

async function askHttp(
  get: NonNullable<Probe["httpGet"]>,
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const scheme = (get.scheme ?? "HTTP").toLowerCase();
  const host = get.host !== undefined && get.host !== "" ? get.host : target.podIp;
  const path = get.path ?? "/";
  const url = new URL(
    `${scheme}://${hostPart(host)}:${portOf(target.container, get.port)}${path.startsWith("/") ? path : `/${path}`}`,
  );
  try {
    const answer = await httpGet(
      { url, headers: get.httpHeaders ?? [], userAgent: probeUserAgent, timeoutMs },
      signal,
    );
    if (answer.status >= 300 && answer.status < 400) {
      return {
        outcome: "success",
        output: answer.body,
        warning: `Probe terminated redirects, Response body: ${answer.body}`,
      };
    }
    if (answer.status >= 200 && answer.status < 300) return { outcome: "success", output: answer.body };
    return { outcome: "failure", output: `HTTP probe failed with statuscode: ${answer.status}` };
  } catch (cause) {
    signal.throwIfAborted();
    return { outcome: "failure", output: cause instanceof Error ? cause.message : String(cause) };
  }
}

async function askTcp(
  host: string,
  port: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = net.connect({ host, port });
  const stop = (): void => resolve("stopped");
  signal.addEventListener("abort", stop, { once: true });
  socket.setTimeout(timeoutMs, () => resolve(`dial tcp ${hostPart(host)}:${port}: i/o timeout`));
  socket.once("connect", () => resolve(undefined));
  socket.once("error", (cause: NodeJS.ErrnoException) =>
    resolve(
      `dial tcp ${hostPart(host)}:${port}: ${cause.code === "ECONNREFUSED" ? "connect: connection refused" : cause.message}`,
    ),
  );
  const failure = await promise;
  signal.removeEventListener("abort", stop);
  socket.destroy();
  signal.throwIfAborted();
  return failure === undefined ? { outcome: "success", output: "" } : { outcome: "failure", output: failure };
}

async function askGrpc(
  address: string,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const names = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
  try {
    // Loaded when the first gRPC probe runs: most nodes have none.
    const { grpcHealth } = await import("./grpc-health.ts");
    const status = await grpcHealth(address, service, timeoutMs, signal);
    if (status === 1) return { outcome: "success", output: "service healthy" };
    return { outcome: "failure", output: `service unhealthy (responded with "${names[status] ?? status}")` };
  } catch (cause) {
    signal.throwIfAborted();
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === 12)
      return {
        outcome: "failure",
        output: `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${errorText(cause)}`,
      };
    if (code === 4)
      return {
        outcome: "failure",
        output: `timeout: health rpc did not complete within ${timeoutMs / 1_000}s`,
      };
    if (code === 14)
      return {
        outcome: "failure",
        output: `error: failed to connect service at "${address}": ${errorText(cause)}`,
      };
    return { outcome: "failure", output: `error: health rpc probe failed: ${errorText(cause)}` };
  }
}

function portOf(container: Container, port: string | number): number {
  const number = portNumber(container, port);
  if (number === undefined) throw new Error(`couldn't find port: ${port} in container ${container.name}`);
  return number;
}

function hostPart(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
