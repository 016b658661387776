import type { ResourceDefinition, StoredObject, Subresource } from "../../model.ts";
import type { Engine, ResourceRequest } from "../engine.ts";

/** What is about to happen to which object. */
export interface Admission {
  readonly operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  readonly definition: ResourceDefinition;
  readonly subresource: Subresource | "";
  readonly namespace: string;
  readonly name: string;
  readonly object: StoredObject | undefined;
  readonly before: StoredObject | undefined;
  readonly dryRun: boolean;
}

/** Asks every plugin in order. @returns the object as the last one left it. @throws {ApiError} of the first refusal. */
export async function admit(
  engine: Engine,
  request: ResourceRequest,
  admission: Admission,
  signal: AbortSignal,
): Promise<StoredObject | undefined> {
  const { definition, object: first, ...rest } = admission;
  let object = first;
  for (const plugin of engine.ports.admission) {
    object =
      (await plugin.admit({ ...rest, resource: definition, user: request.user, object }, signal)) ?? object;
  }
  return object;
}
