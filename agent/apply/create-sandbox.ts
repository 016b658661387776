import { mkdir } from "node:fs/promises";
import path from "node:path";
import { errorText } from "#lib/log.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import { podHostname } from "../plan/hostname.ts";
import { podDns } from "../plan/resolv-conf.ts";
import { sandboxConfig } from "../plan/sandbox-config.ts";
import { userNamespaceRefusal } from "../plan/security-refusal.ts";
import type { PodEntry } from "../pod-entry.ts";
import { cgroupParentOf, ensurePodCgroup } from "../resources/pod-cgroups.ts";
import type { SandboxConfig } from "../runtime/runtime.ts";
import { runtimeHandler } from "./runtime-handler.ts";

const retryMs = 5_000;

/** Starts the Pod's sandbox. A failure is noted on the entry and said in an event; it is tried again later. */
export async function createSandbox(
  context: AgentContext,
  entry: PodEntry,
  attempt: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { pod } = entry;
  if (attempt > 0) {
    podEvent(
      context,
      pod,
      "Normal",
      "SandboxChanged",
      "Pod sandbox changed, it will be killed and re-created.",
    );
  }
  try {
    const handler = await runtimeHandler(context.reader, pod, signal);
    const refusal = userNamespaceRefusal(pod, handler, context.node.handlers());
    if (refusal !== undefined) throw new Error(refusal);
    await ensurePodCgroup(context, entry);
    const config = await sandboxOf(context, entry, attempt);
    for (const { reason, message } of podDns(
      pod,
      { servers: context.config.clusterDns, domain: context.config.clusterDomain },
      context.node.hostDns(),
    ).notes) {
      podEvent(context, pod, "Warning", reason, message);
    }
    await mkdir(config.logDirectory, { recursive: true, mode: 0o755 });
    await context.runtime.runSandbox(config, handler, signal);
    entry.sandboxFailure = undefined;
    return true;
  } catch (cause) {
    signal.throwIfAborted();
    const message = `Failed to create pod sandbox: ${errorText(cause)}`;
    podEvent(context, pod, "Warning", "FailedCreatePodSandBox", message);
    entry.sandboxFailure = { message, retryAtMs: context.clock.now() + retryMs };
    return false;
  }
}

/** The sandbox configuration of a Pod: also what its containers are created with. */
export async function sandboxOf(
  context: AgentContext,
  entry: PodEntry,
  attempt: number,
): Promise<SandboxConfig> {
  const { config, node } = context;
  const { pod } = entry;
  const { hostname } = podHostname(pod, config.clusterDomain, context.nodeName);
  return sandboxConfig(pod, {
    attempt,
    hostname,
    logDirectory: logDirectoryOf(context, entry),
    dns: podDns(pod, { servers: config.clusterDns, domain: config.clusterDomain }, node.hostDns()).dns,
    cgroupParent: cgroupParentOf(context, pod),
    userNamespace: pod.spec?.hostUsers === false ? await context.userNamespaces.of(entry.uid) : undefined,
  });
}

/** `<pod logs dir>/<namespace>_<name>_<uid>` */
export function logDirectoryOf(context: AgentContext, { pod, uid }: PodEntry): string {
  return path.join(context.config.podLogsDir, `${pod.metadata?.namespace}_${pod.metadata?.name}_${uid}`);
}
