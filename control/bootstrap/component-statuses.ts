import type { ComponentStatus, ComponentStatusList } from "#api/generated/kubernetes.ts";
import { notFound } from "../api-error.ts";

/** Asks one part of the control plane how it is: undefined when well, else why not. */
export type ComponentCheck = (signal: AbortSignal) => Promise<string | undefined>;

const kind = { group: "", plural: "componentstatuses", kind: "ComponentStatus" };

/** Answers `kubectl get componentstatuses` by asking each part now. */
export async function listComponents(
  checks: ReadonlyMap<string, ComponentCheck>,
  signal: AbortSignal,
): Promise<ComponentStatusList> {
  const items = await Promise.all([...checks].map(([name, check]) => statusOf(name, check, signal)));
  return { apiVersion: "v1", kind: "ComponentStatusList", metadata: {}, items };
}

/** One part. @throws {ApiError} 404. */
export async function getComponent(
  checks: ReadonlyMap<string, ComponentCheck>,
  name: string,
  signal: AbortSignal,
): Promise<ComponentStatus> {
  const check = checks.get(name);
  if (check === undefined) throw notFound(kind, name);
  return await statusOf(name, check, signal);
}

async function statusOf(name: string, check: ComponentCheck, signal: AbortSignal): Promise<ComponentStatus> {
  const why = await check(signal).catch((cause: unknown) =>
    cause instanceof Error ? cause.message : String(cause),
  );
  return {
    apiVersion: "v1",
    kind: "ComponentStatus",
    metadata: { name },
    conditions: [
      why === undefined
        ? { type: "Healthy", status: "True", message: "ok" }
        : { type: "Healthy", status: "False", message: "", error: why },
    ],
  };
}
