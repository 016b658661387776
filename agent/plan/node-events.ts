import type { NodeStatus } from "#api/generated/kubernetes.ts";

/** A condition -> the event's reason when it is true and when it is not. */
const reasons: Readonly<Record<string, readonly [string, string]>> = {
  MemoryPressure: ["NodeHasInsufficientMemory", "NodeHasSufficientMemory"],
  DiskPressure: ["NodeHasDiskPressure", "NodeHasNoDiskPressure"],
  PIDPressure: ["NodeHasInsufficientPID", "NodeHasSufficientPID"],
  Ready: ["NodeReady", "NodeNotReady"],
};

/**
 * The events that a new status of the node asks for: one for each condition that changed, in the kubelet's words. A
 * node that has no status yet tells of pressure, not of readiness.
 */
export function nodeEvents(
  nodeName: string,
  before: NodeStatus | undefined,
  now: NodeStatus,
): readonly { readonly reason: string; readonly message: string }[] {
  return (now.conditions ?? []).flatMap(({ type, status }) => {
    const old = before?.conditions?.find((one) => one.type === type)?.status;
    const words = reasons[type];
    if (words === undefined || old === status || (old === undefined && type === "Ready")) return [];
    const reason = status === "True" ? words[0] : words[1];
    return [{ reason, message: `Node ${nodeName} status is now: ${reason}` }];
  });
}
