import { mkdir, rm, symlink } from "node:fs/promises";
import path from "node:path";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { AgentContext } from "../agent-context.ts";
import { logLinkName } from "../plan/log-names.ts";

/** Links a container's log where log shippers look: `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`. */
export async function linkLog(
  context: AgentContext,
  pod: Pod,
  container: string,
  id: string,
  attempt: number,
): Promise<void> {
  const { podLogsDir, containerLogsDir } = context.config;
  const { namespace = "", name = "", uid } = pod.metadata ?? {};
  const link = path.join(containerLogsDir, logLinkName(name, namespace, container, id));
  try {
    await mkdir(containerLogsDir, { recursive: true, mode: 0o755 });
    await rm(link, { force: true });
    await symlink(path.join(podLogsDir, `${namespace}_${name}_${uid}`, container, `${attempt}.log`), link);
  } catch (cause) {
    context.log.warn("cannot link a log", { link, cause });
  }
}

/** Removes a container's record, and first the link to its log: a record that is gone leads nobody to it. */
export async function removeContainer(
  context: AgentContext,
  pod: Pod,
  { id, name: container }: { readonly id: string; readonly name: string },
  signal: AbortSignal,
): Promise<void> {
  const { namespace = "", name = "" } = pod.metadata ?? {};
  const link = path.join(context.config.containerLogsDir, logLinkName(name, namespace, container, id));
  await rm(link, { force: true });
  await context.runtime.removeContainer(id, signal);
}
