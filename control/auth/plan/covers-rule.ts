import type { PolicyRule } from "#api/generated/kubernetes.ts";
import { pathMatches } from "./authorize-rbac.ts";

/**
 * The parts of `wanted` that `owned` does not give: nobody grants what they do not hold.
 * Each rule is taken apart into one verb on one resource (and name), because several rules of the owner may
 * cover one wanted rule between them.
 * @returns single-purpose rules; empty when everything is covered.
 */
export function uncoveredRules(
  wanted: readonly PolicyRule[],
  owned: readonly PolicyRule[],
): readonly PolicyRule[] {
  return wanted.flatMap(takeApart).filter((single) => !owned.some((rule) => covers(rule, single)));
}

/** A rule as upstream's message writes it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`. */
export function formatRule(rule: PolicyRule): string {
  const parts: readonly [string, readonly string[] | undefined][] = [
    ["APIGroups", rule.apiGroups],
    ["Resources", rule.resources],
    ["ResourceNames", rule.resourceNames],
    ["NonResourceURLs", rule.nonResourceURLs],
    ["Verbs", rule.verbs],
  ];
  const filled = parts.filter(([, list]) => list !== undefined && list.length > 0);
  return `{${filled.map(([name, list = []]) => `${name}:[${list.map((one) => `"${one}"`).join(" ")}]`).join(", ")}}`;
}

function takeApart(rule: PolicyRule): PolicyRule[] {
  const names = rule.resourceNames ?? [];
  return rule.verbs.flatMap((verb) => [
    ...(rule.nonResourceURLs ?? []).map((url) => ({ verbs: [verb], nonResourceURLs: [url] })),
    ...(rule.apiGroups ?? []).flatMap((group) =>
      (rule.resources ?? []).flatMap((resource) => {
        const single = { verbs: [verb], apiGroups: [group], resources: [resource] };
        return names.length === 0 ? [single] : names.map((name) => ({ ...single, resourceNames: [name] }));
      }),
    ),
  ]);
}

function covers(owner: PolicyRule, single: PolicyRule): boolean {
  const [verb = ""] = single.verbs;
  if (!owner.verbs.includes("*") && !owner.verbs.includes(verb)) return false;
  const [url] = single.nonResourceURLs ?? [];
  if (url !== undefined) return (owner.nonResourceURLs ?? []).some((pattern) => pathMatches(pattern, url));
  const [group = ""] = single.apiGroups ?? [];
  const [resource = ""] = single.resources ?? [];
  const [name] = single.resourceNames ?? [];
  const ownNames = owner.resourceNames ?? [];
  const groups = owner.apiGroups ?? [];
  const resources = owner.resources ?? [];
  const slash = resource.indexOf("/");
  return (
    (groups.includes("*") || groups.includes(group)) &&
    (resources.includes("*") ||
      resources.includes(resource) ||
      (slash >= 0 && resources.includes(`*${resource.slice(slash)}`))) &&
    (ownNames.length === 0 || (name !== undefined && ownNames.includes(name)))
  );
}
