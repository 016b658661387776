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
      if (!response.headersSent) response.flushHeaders(); // also for a log in which nothing is yet
      if (text.length > 0 && !response.write(text)) await once(response, "drain", { signal });
    }
  } catch (cause) {
    if (signal.aborted) return;
    if (isMissing(cause)) {
      const why = `lstat ${logPath}: no such file or directory`;
      throw new HttpError(500, `failed to try resolving symlinks in path "${logPath}": ${why}`, { cause });
    }
    throw cause;
  }
  response.end();
}

/** The run whose log is meant, as kubelet chooses it. */
function findLog(
  pod: AgentPod,
  name: string,
  previous: boolean,
): { readonly id: string; readonly logPath: string } {
  const { spec, metadata } = pod.pod;
  const declared = [
    ...(spec?.containers ?? []),
    ...(spec?.initContainers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ].some((container) => container.name === name);
  const podName = metadata?.name ?? "";
  if (!declared) throw new HttpError(404, `container "${name}" not found in pod "${podName}"`);
  const container = pod.containers.get(name);
  if (previous) {
    if (container?.previous === undefined)
      throw new HttpError(400, `previous terminated container "${name}" in pod "${podName}" not found`);
    return container.previous;
  }
  if (container?.state === "created" && container.previous !== undefined) return container.previous;
  if (container !== undefined && container.state !== "created") return container;
  const words = waitingWords(pod, name);
  throw new HttpError(400, `container "${name}" in pod "${podName}" is waiting to start: ${words}`);
}

/** kubelet's words for the most common failures. */
function waitingWords(pod: AgentPod, name: string): string {
  const { status } = pod.pod;
  const statuses = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  const reason = statuses.find((one) => one.name === name)?.state?.waiting?.reason ?? "ContainerCreating";
  if (reason === "ErrImagePull") return "image can't be pulled";
  if (reason === "ImagePullBackOff") return "trying and failing to pull image";
  return reason;
}
