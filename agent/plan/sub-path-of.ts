import path from "node:path";
import type { VolumeMount } from "#api/generated/kubernetes.ts";
import { expand } from "./expand.ts";

/** The part of its volume that a mount asks for cannot be told. The message is the kubelet's. */
export class SubPathRefusal extends Error {
  override readonly name = "SubPathRefusal";
}

/**
 * The part of its volume that a mount shows, with variables of the container put in; "" for all of it.
 * @param variables the container's environment; one that is empty counts as missing, as for the kubelet.
 * @throws {SubPathRefusal} for a variable that is missing and for a path that is absolute or leads up.
 */
export function subPathOf(
  { subPath: written = "", subPathExpr = "" }: VolumeMount,
  variables: ReadonlyMap<string, string>,
): string {
  const missing = new Set<string>();
  const subPath =
    subPathExpr === ""
      ? written
      : expand(subPathExpr, (name) => {
          const value = variables.get(name) ?? "";
          if (value === "") missing.add(name);
          return value;
        });
  if (missing.size > 0) throw new SubPathRefusal(`missing value for ${[...missing].toSorted().join(", ")}`);
  if (path.posix.isAbsolute(subPath))
    throw new SubPathRefusal(`error SubPath \`${subPath}\` must not be an absolute path`);
  if (subPath.split("/").includes(".."))
    throw new SubPathRefusal(`unable to provision SubPath \`${subPath}\`: must not contain '..'`);
  return subPath;
}
