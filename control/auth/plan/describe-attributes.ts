import type { Attributes } from "../../model.ts";

/** What a refusal says after `pods "x" is forbidden: `, as kubectl and people know it. */
export function describeAttributes(attributes: Attributes): string {
  const { user, verb } = attributes;
  if (attributes.kind === "path") return `User "${user.name}" cannot ${verb} path "${attributes.path}"`;
  const { resource, subresource, group, namespace } = attributes;
  const full = subresource === "" ? resource : `${resource}/${subresource}`;
  const where = namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`;
  return `User "${user.name}" cannot ${verb} resource "${full}" in API group "${group}" ${where}`;
}
