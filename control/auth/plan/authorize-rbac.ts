import type { PolicyRule } from "#api/generated/kubernetes.ts";
import type { Attributes } from "../../model.ts";

/** True when one of the rules allows the request. Rules only ever allow. */
export function authorizeRbac(attributes: Attributes, rules: Iterable<PolicyRule>): boolean {
  for (const rule of rules) if (ruleAllows(attributes, rule)) return true;
  return false;
}

/** True when this rule allows the request, by the meaning of RBAC's fields. */
export function ruleAllows(attributes: Attributes, rule: PolicyRule): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  if (attributes.kind === "path")
    return (rule.nonResourceURLs ?? []).some((url) => pathMatches(url, attributes.path));
  const names = rule.resourceNames ?? [];
  return (
    has(rule.apiGroups, attributes.group) &&
    resourceMatches(rule.resources ?? [], attributes.resource, attributes.subresource) &&
    (names.length === 0 || (attributes.name !== "" && names.includes(attributes.name)))
  );
}

/** `pods`, `pods/log`, `*` and `*`+`/scale`: a bare resource says nothing about its subresources, `*` about all. */
function resourceMatches(resources: readonly string[], resource: string, subresource: string): boolean {
  const full = subresource === "" ? resource : `${resource}/${subresource}`;
  return resources.some(
    (one) => one === "*" || one === full || (subresource !== "" && one === `*/${subresource}`),
  );
}

/** `/healthz` exactly, or `/healthz/*`: a star at the end stands for any rest. */
export function pathMatches(pattern: string, path: string): boolean {
  return pattern === path || (pattern.endsWith("*") && path.startsWith(pattern.slice(0, -1)));
}

function has(list: readonly string[] | undefined, word: string): boolean {
  return list !== undefined && (list.includes("*") || list.includes(word));
}
