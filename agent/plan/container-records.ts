import type { PodRuntime } from "../model.ts";
import type { ContainerStatus, SandboxStatus } from "../runtime/runtime.ts";

/** What the runtime has under one container name, newest first. */
export interface ContainerRecord {
  readonly newest: ContainerStatus;
  readonly older: readonly ContainerStatus[];
}

/** Groups the runtime's containers by name. A higher attempt is newer; the time of creation decides a tie. */
export function containerRecords(
  containers: readonly ContainerStatus[],
): ReadonlyMap<string, ContainerRecord> {
  const sorted = containers.toSorted((a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs);
  return new Map(
    [...Map.groupBy(sorted, (container) => container.name)].flatMap(([name, [newest, ...older]]) =>
      newest === undefined ? [] : [[name, { newest, older }]],
    ),
  );
}

/** The newest ready sandbox, or the newest of all. */
export function newestSandbox(runtime: PodRuntime): SandboxStatus | undefined {
  const byAge = runtime.sandboxes.toSorted((a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs);
  return byAge.find((sandbox) => sandbox.state === "ready") ?? byAge[0];
}
