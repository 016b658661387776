import type { Container, LifecycleHandler } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { portNumber } from "../plan/probe-verdict.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { httpGet, HttpGetError } from "./http-get.ts";
import { hookUserAgent } from "./user-agent.ts";

/** Whom a lifecycle hook concerns. */
export interface HookTarget {
  readonly containerId: string;
  readonly container: Container;
  readonly podIp: string;
}

/** What a hook runs with. */
export interface HookPorts {
  readonly runtime: Runtime;
  readonly clock: Clock;
  /** A hook that asked for HTTPS was answered in plain HTTP, and has been asked again so. */
  readonly fellBack: (message: string) => void;
}

/**
 * Runs a postStart or preStop hook to its end: it has no time of its own, the signal ends it.
 * @throws Error whose message says how it failed.
 */
export async function runHook(
  handler: LifecycleHandler,
  target: HookTarget,
  ports: HookPorts,
  signal: AbortSignal,
): Promise<void> {
  if (handler.exec !== undefined) {
    await runCommand(handler.exec.command ?? [], target, ports.runtime, signal);
  } else if (handler.httpGet !== undefined) {
    await get(handler.httpGet, target, ports, signal);
  } else if (handler.sleep !== undefined) {
    await ports.clock.sleep(handler.sleep.seconds * 1_000, signal);
  }
  // tcpSocket is deprecated and does nothing: the API keeps it for old objects.
}

async function runCommand(
  command: readonly string[],
  { containerId }: HookTarget,
  runtime: Runtime,
  signal: AbortSignal,
): Promise<void> {
  const { exitCode, stdout, stderr } = await runtime.execSync(
    containerId,
    command,
    { timeoutMs: 0, maxOutputBytes: 10 * 1024 },
    signal,
  );
  if (exitCode === 0) return;
  const output = Buffer.from(stdout).toString("utf8") + Buffer.from(stderr).toString("utf8");
  throw new Error(`command '${command.join(" ")}' exited with ${exitCode}: ${output}`);
}

/** Any answer will do, whatever its status: the request is the message, as it has always been. */
async function get(
  { host, port, path = "/", scheme = "HTTP", httpHeaders = [] }: NonNullable<LifecycleHandler["httpGet"]>,
  { container, podIp }: HookTarget,
  { fellBack }: HookPorts,
  signal: AbortSignal,
): Promise<void> {
  const number = port === "" ? 80 : portNumber(container, port);
  if (number === undefined) throw new Error(`couldn't find port: ${port} in container ${container.name}`);
  const name = host !== undefined && host !== "" ? host : podIp;
  const place = `${name.includes(":") ? `[${name}]` : name}:${number}${path.startsWith("/") ? path : `/${path}`}`;
  const ask = async (
    protocol: string,
    headers: readonly { readonly name: string; readonly value: string }[],
  ): Promise<void> => {
    const url = new URL(`${protocol}://${place}`);
    await httpGet({ url, headers, userAgent: hookUserAgent, timeoutMs: undefined }, signal);
  };
  try {
    await ask(scheme.toLowerCase(), httpHeaders);
  } catch (cause) {
    if (!(cause instanceof HttpGetError) || cause.code !== "http-answer") throw cause;
    // Hooks once spoke HTTP whatever their scheme said. A secret that was meant for HTTPS is not sent in the clear.
    await ask(
      "http",
      httpHeaders.filter((header) => header.name.toLowerCase() !== "authorization"),
    );
    fellBack(`request to HTTPS lifecycle hook ${place} got HTTP response, retry with HTTP succeeded`);
  }
}
