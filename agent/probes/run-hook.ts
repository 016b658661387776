import type { Container, LifecycleHandler } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { portNumber } from "../plan/probe-verdict.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { httpGet } from "./http-get.ts";

/** Whom a lifecycle hook concerns. */
export interface HookTarget {
  readonly containerId: string;
  readonly container: Container;
  readonly podIp: string;
}

/**
 * Runs a postStart or preStop hook to its end.
 * @throws Error whose message says how it failed.
 */
export async function runHook(
  handler: LifecycleHandler,
  target: HookTarget,
  runtime: Runtime,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (handler.exec !== undefined) {
    const command = handler.exec.command ?? [];
    const { exitCode, stdout, stderr } = await runtime.execSync(
      target.containerId,
      command,
      { timeoutMs: 0, maxOutputBytes: 10 * 1024 },
      signal,
    );
    if (exitCode === 0) return;
    const output = Buffer.from(stdout).toString("utf8") + Buffer.from(stderr).toString("utf8");
    throw new Error(`command '${command.join(" ")}' exited with ${exitCode}: ${output}`);
  }
  if (handler.httpGet !== undefined) {
    const { host, port, path = "/", scheme = "HTTP", httpHeaders = [] } = handler.httpGet;
    const number = portNumber(target.container, port);
    if (number === undefined)
      throw new Error(`couldn't find port: ${port} in container ${target.container.name}`);
    const name = host !== undefined && host !== "" ? host : target.podIp;
    const url = new URL(
      `${scheme.toLowerCase()}://${name.includes(":") ? `[${name}]` : name}:${number}${path.startsWith("/") ? path : `/${path}`}`,
    );
    const { status } = await httpGet(
      { url, headers: httpHeaders, userAgent: "kube-lifecycle/1.36", timeoutMs: 30_000 },
      signal,
    );
    if (status < 200 || status >= 400) throw new Error(`HTTP hook failed with statuscode: ${status}`);
    return;
  }
  if (handler.sleep !== undefined) await clock.sleep(handler.sleep.seconds * 1_000, signal);
}
