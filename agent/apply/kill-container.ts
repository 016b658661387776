import { errorText } from "#lib/log.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import { newestSandbox } from "../plan/container-records.ts";
import { fieldPathOf } from "../plan/containers-of.ts";
import type { PodAction } from "../plan/pod-actions.ts";
import type { PodEntry } from "../pod-entry.ts";
import { runHook } from "../probes/run-hook.ts";
import { markReplaced } from "./replaced-mark.ts";
import { hookPorts } from "./hook-ports.ts";

/** Seconds a container always has between TERM and KILL, whatever its Pod's grace period is and its hook has used. */
const leastStopSeconds = 2;

/** Begins to stop a container: preStop, TERM, and KILL when the time is over. It goes on in the background. */
export function killContainer(
  context: AgentContext,
  entry: PodEntry,
  action: PodAction & { readonly do: "kill-container" },
): void {
  const { container, graceSeconds, message, spec } = action;
  entry.kills.get(container.id)?.stop.abort();
  const stop = new AbortController();
  const deadlineMs = context.clock.now() + graceSeconds * 1_000;
  entry.kills.set(container.id, { reason: message, deadlineMs, stop });
  // A stop that failed is tried again, but its hook runs once and its event is said once.
  const begins = !entry.said.has(`stopping ${container.id}`);
  entry.said.set(`stopping ${container.id}`, message);
  if (begins) podEvent(context, entry.pod, "Normal", "Killing", message, spec && fieldPathOf(spec));
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const run = async (): Promise<void> => {
    try {
      if (action.replaces) await markReplaced(context.config.rootDir, container);
      if (begins && action.preStop) await preStop(context, entry, action, deadlineMs, signal);
      const left = Math.ceil((deadlineMs - context.clock.now()) / 1_000);
      // None at all is the wish to end it abruptly.
      const least = graceSeconds === 0 ? 0 : leastStopSeconds;
      await context.runtime.stopContainer(container.id, Math.max(least, left), signal);
    } catch (cause) {
      if (signal.aborted) return;
      podEvent(context, entry.pod, "Warning", "FailedKillPod", `error killing pod: ${errorText(cause)}`);
      context.log.warn("cannot stop a container", { container: container.id, cause });
      await context.clock.sleep(1_000, signal).catch(() => undefined);
    } finally {
      // A shorter stop may have taken over.
      if (entry.kills.get(container.id)?.stop === stop) entry.kills.delete(container.id);
      context.markDirty(entry.uid);
    }
  };
  void run();
}

async function preStop(
  context: AgentContext,
  entry: PodEntry,
  { container, spec }: PodAction & { readonly do: "kill-container" },
  deadlineMs: number,
  signal: AbortSignal,
): Promise<void> {
  const handler = spec?.container.lifecycle?.preStop;
  if (handler === undefined || spec === undefined || container.state !== "running") return;
  const deadline = new AbortController();
  const cancel = context.clock.after(Math.max(0, deadlineMs - context.clock.now()), () => deadline.abort());
  const podIp = newestSandbox(entry.runtime)?.ips[0] ?? context.node.hostIps()[0] ?? "";
  try {
    await context.journals.during(entry.uid, "preStop hook", container.name, () =>
      runHook(
        handler,
        { containerId: container.id, container: spec.container, podIp },
        hookPorts(context, entry.pod, spec),
        AbortSignal.any([signal, deadline.signal]),
      ),
    );
  } catch (cause) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) return;
    podEvent(
      context,
      entry.pod,
      "Warning",
      "FailedPreStopHook",
      `PreStopHook failed: ${errorText(cause)}`,
      fieldPathOf(spec),
    );
  } finally {
    cancel();
  }
}
