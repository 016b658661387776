import type { IncomingMessage, ServerResponse } from "node:http";
import type { Pod } from "#api/generated/kubernetes.ts";
import { kubernetesVersion } from "#api/version.ts";
import type { Clock } from "#lib/clock.ts";
import type { AgentView } from "../model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { writeContainerLog } from "./container-log.ts";
import { HttpError } from "./http-error.ts";
import { writeHostLog } from "./host-logs.ts";
import { findContainer, findPod, parsePodPath } from "./pod-paths.ts";
import { resourceMetrics, statsSummary, type UsageReader } from "./stats.ts";
import { flagz, statusz } from "./zpages.ts";

/** What the routes read. */
export interface RoutePorts {
  readonly view: AgentView;
  readonly runtime: Runtime;
  readonly clock: Clock;
  /** Prometheus text of the agent's own metrics. */
  readonly metrics: () => Promise<string>;
  readonly usage: UsageReader;
  readonly rootDir: string;
  /** `/var/log` */
  readonly hostLogsDir: string;
  /** Wall time. */
  readonly startedMs: number;
}

const maxRunOutputBytes = 16 * 1024 * 1024;
const metricsType = "text/plain; version=0.0.4; charset=utf-8";

/** Answers one request that is no upgrade. @throws {HttpError} for what is refused. */
export async function serveRequest(
  ports: RoutePorts,
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { view, runtime, clock } = ports;
  const path = url.pathname;
  const [, first = ""] = path.split("/");
  const json = (body: unknown): void => send(response, 200, "application/json", `${JSON.stringify(body)}\n`);
  if (path === "/healthz" || path.startsWith("/healthz/")) return writeHealth(view, response);
  switch (first) {
    case "pods":
      return json(podList(view.pods()));
    case "runningpods":
      return json(podList(await runningPods(runtime, signal)));
    case "containerLogs": {
      const podPath = parsePodPath(path, true);
      if (podPath === undefined) break;
      return await writeContainerLog(view, podPath, url.searchParams, response, clock, signal);
    }
    case "run": {
      const podPath = parsePodPath(path, true);
      if (podPath === undefined) break;
      if (request.method !== "POST") throw new HttpError(405, "405: Method Not Allowed");
      const container = findContainer(findPod(view, podPath), podPath);
      const command = (url.searchParams.get("cmd") ?? "").split(" ").filter((word) => word !== "");
      if (command.length === 0) throw new HttpError(400, "you must specify a command: ?cmd=");
      const options = { timeoutMs: 0, maxOutputBytes: maxRunOutputBytes };
      const { stdout, stderr } = await runtime.execSync(container.id, command, options, signal);
      return send(response, 200, "text/plain", Buffer.concat([stdout, stderr]));
    }
    case "stats":
      if (path !== "/stats/summary") break;
      return json(await statsSummary(view, ports.usage, ports.rootDir, signal));
    case "metrics":
      if (path === "/metrics") return send(response, 200, metricsType, await ports.metrics());
      if (path === "/metrics/resource")
        return send(response, 200, metricsType, await resourceMetrics(view, ports.usage, signal));
      break;
    case "logs":
      return await writeHostLog(ports.hostLogsDir, path, request, response);
    case "flagz":
      if (path !== "/flagz") break;
      return send(response, 200, "text/plain; charset=utf-8", flagz(view.configuration()));
    case "statusz": {
      if (path !== "/statusz") break;
      const status = statusz(ports.startedMs, clock.now(), kubernetesVersion);
      return send(response, 200, "text/plain; charset=utf-8", status);
    }
    case "configz":
      return json({ kubeletconfig: view.configuration() });
    case "exec":
    case "attach":
    case "portForward":
      throw new HttpError(400, "unable to upgrade: missing upgrade headers in request");
    default:
      break;
  }
  throw new HttpError(404, "404 page not found");
}

/** `ok`, or 500 with what is stuck. */
function writeHealth(view: AgentView, response: ServerResponse): void {
  const health = view.healthy();
  if (health.ok) send(response, 200, "text/plain; charset=utf-8", "ok");
  else
    send(
      response,
      500,
      "text/plain; charset=utf-8",
      `[-]syncloop failed: ${health.why}\nhealthz check failed\n`,
    );
}

/** A whole answer. */
export function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Uint8Array,
): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function podList(items: readonly Pod[]): object {
  return { kind: "PodList", apiVersion: "v1", metadata: {}, items };
}

/** Pods as the runtime knows them, whether the API does or not. */
async function runningPods(runtime: Runtime, signal: AbortSignal): Promise<readonly Pod[]> {
  const containers = await runtime.listContainers({}, signal);
  const running = containers.filter((container) => container.state === "running");
  const pods = new Map<string, Pod>();
  for (const container of running) {
    const pod = pods.get(container.podUid);
    const more = [
      ...(pod?.spec?.containers ?? []),
      { name: container.name, image: container.image, resources: {} },
    ];
    pods.set(container.podUid, {
      metadata: { name: container.podName, namespace: container.podNamespace, uid: container.podUid },
      spec: { containers: more },
      status: {},
    });
  }
  return [...pods.values()];
}
