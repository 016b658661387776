import type { ServerResponse } from "node:http";
import { once } from "node:events";
import type { Clock } from "#lib/clock.ts";
import { isMissing } from "#lib/read-if-there.ts";
import type { AgentPod, AgentView } from "../model.ts";
import { HttpError } from "./http-error.ts";
import { parseLogOptions } from "./log-options.ts";
import { findPod, type PodPath } from "./pod-paths.ts";
import { readLog } from "./read-log.ts";

/** Answers `/containerLogs/NAMESPACE/POD/CONTAINER`. */
export async function writeContainerLog(
  view: AgentView,
  path: PodPath,
  query: URLSearchParams,
  response: ServerResponse,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const options = parseLogOptions(query, clock.now());
  const pod = findPod(view, path);
  const name = path.container ?? "";
  const { id, logPath } = findLog(pod, name, options.previous);
  const isRunning = (): boolean => {
    const container = view.podByUid(pod.uid)?.containers.get(name);
    return container?.id === id && (container.state === "running" || container.state === "created");
  };
  response.setHeader("content-type", "text/plain");
  response.setHeader("transfer-encoding", "chunked");
  try {
    for await (const text of readLog(logPath, options, isRunning, clock, signal)) {
      if (!response.write(text)) await once(response, "drain", { signal });
      else if (!response.headersSent) response.flushHeaders();
    }
  } catch (cause) {
    if (signal.aborted) return;
    if (isMissing(cause)) {
      throw new HttpError(500, `failed to try resolving symlinks in path "${logPath}": no such file`, {
        cause,
      });
    }
    throw cause;
  }
  response.end();
}

function findLog(
  pod: AgentPod,
  name: string,
  previous: boolean,
): { readonly id: string; readonly logPath: string } {
  const spec = pod.pod.spec;
  const declared = [
    ...(spec?.containers ?? []),
    ...(spec?.initContainers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ].some((container) => container.name === name);
  const podName = pod.pod.metadata?.name ?? "";
  if (!declared) throw new HttpError(404, `container ${name} not found in pod ${podName}`);
  const container = pod.containers.get(name);
  if (previous) {
    if (container?.previous === undefined)
      throw new HttpError(400, `previous terminated container "${name}" in pod "${podName}" not found`);
    return container.previous;
  }
  if (container === undefined) {
    const waiting = waitingReason(pod, name);
    throw new HttpError(400, `container "${name}" in pod "${podName}" is waiting to start: ${waiting}`);
  }
  return container;
}

function waitingReason(pod: AgentPod, name: string): string {
  const { status } = pod.pod;
  const statuses = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return statuses.find((one) => one.name === name)?.state?.waiting?.reason ?? "ContainerCreating";
}
