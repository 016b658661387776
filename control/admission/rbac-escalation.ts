import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
} from "#api/generated/kubernetes.ts";
import type { Authorize } from "../auth/authorizer.ts";
import { formatRule, uncoveredRules } from "../auth/plan/covers-rule.ts";
import type { RbacRules } from "../auth/rbac-rules.ts";
import type { AdmissionPlugin, AdmissionRequest, StoredObject } from "../model.ts";
import { typed } from "./plan/typed.ts";
import { refuse } from "./plugin.ts";

const group = "rbac.authorization.k8s.io";

/**
 * Nobody grants what they do not hold: a role may have only rules its writer has, unless they may `escalate`
 * it; a binding may give only a role whose rules its writer has, unless they may `bind` it. Always on.
 */
export function rbacEscalation(rules: RbacRules, authorize: Authorize): AdmissionPlugin {
  return {
    name: "RbacEscalation",
    admit(request) {
      const { object } = request;
      const isWrite = request.operation === "CREATE" || request.operation === "UPDATE";
      if (request.resource.group === group && isWrite && object !== undefined) {
        const may = (verb: string, resource: string, name: string): boolean =>
          authorize({
            kind: "resource",
            user: request.user,
            verb,
            group,
            version: "v1",
            resource,
            subresource: "",
            namespace: request.namespace,
            name,
          }).allowed;
        check(request, object, rules, may);
      }
      return Promise.resolve(object);
    },
  };
}

function check(
  request: AdmissionRequest,
  object: StoredObject,
  rules: RbacRules,
  may: (verb: string, resource: string, name: string) => boolean,
): void {
  const { kind } = request.resource;
  if (kind === "Role" || kind === "ClusterRole") {
    const wanted = typed<Role | ClusterRole>(object).rules ?? [];
    const before = request.before === undefined ? undefined : typed<Role>(request.before).rules;
    // A write that leaves the rules alone (the garbage collector's, a label's) grants nothing.
    if (JSON.stringify(wanted) === JSON.stringify(before ?? null)) return;
    if (!may("escalate", request.resource.plural, object.metadata.name)) requireHeld(request, wanted, rules);
    return;
  }
  const { roleRef } = typed<RoleBinding | ClusterRoleBinding>(object);
  const bound = roleRef.kind === "Role" ? "roles" : "clusterroles";
  if (!may("bind", bound, roleRef.name)) {
    requireHeld(request, [...rules.ofRole(roleRef, request.namespace)], rules);
  }
}

function requireHeld(request: AdmissionRequest, wanted: readonly PolicyRule[], rules: RbacRules): void {
  if (request.user.groups.includes("system:masters")) return;
  const missing = uncoveredRules(wanted, [...rules.of(request.user, request.namespace)]);
  if (missing.length === 0) return;
  const { name, groups } = request.user;
  throw refuse(
    request,
    `user "${name}" (groups=[${groups.map((one) => `"${one}"`).join(" ")}]) is attempting to grant RBAC permissions not currently held:\n${missing.map(formatRule).join("\n")}`,
  );
}
