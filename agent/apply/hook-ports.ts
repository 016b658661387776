import type { Pod } from "#api/generated/kubernetes.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import { fieldPathOf, type SpecContainer } from "../plan/containers-of.ts";
import type { HookPorts } from "../probes/run-hook.ts";

/** What the hooks of one container run with. */
export function hookPorts(context: AgentContext, pod: Pod, spec: SpecContainer): HookPorts {
  return {
    runtime: context.runtime,
    clock: context.clock,
    fellBack: (message) =>
      podEvent(context, pod, "Warning", "LifecycleHTTPFallback", message, fieldPathOf(spec)),
  };
}
