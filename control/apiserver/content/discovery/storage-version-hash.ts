import { createHash } from "node:crypto";
import type { ResourceDefinition } from "../../../model.ts";

/** Changes when the stored form of a resource changes; clients compare it, nobody reads it. */
export function storageVersionHash(of: ResourceDefinition): string {
  const identity = `${of.group}/${of.version}/${of.kind}`;
  return createHash("sha256").update(identity).digest().subarray(0, 8).toString("base64");
}
