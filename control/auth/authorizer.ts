import type { Attributes, Decision } from "../model.ts";
import { authorizeNode, type NodeReach } from "./plan/authorize-node.ts";
import { authorizeRbac } from "./plan/authorize-rbac.ts";
import type { RbacRules } from "./rbac-rules.ts";

/** Decides from what is in memory: no request waits for another. */
export type Authorize = (attributes: Attributes) => Decision;

/** One way to decide; undefined leaves it to the next. */
export type Authorizer = (attributes: Attributes) => Decision | undefined;

/** The words of `--authorization-mode`. */
export type AuthorizationMode = "AlwaysAllow" | "AlwaysDeny" | "Node" | "RBAC";

/** What the modes decide from. */
export interface AuthorizerPorts {
  readonly rules: RbacRules;
  readonly graph: NodeReach;
}

/**
 * The authorizers of `--authorization-mode`, asked in order; the first that allows is the answer, and so is a
 * refusal of the last kind. Group system:masters is always let through: no role can lock an administrator out.
 */
export function authorizer(modes: readonly AuthorizationMode[], ports: AuthorizerPorts): Authorize {
  const chain = modes.map((mode) => authorizerOf(mode, ports));
  return (attributes) => {
    if (attributes.user.groups.includes("system:masters")) return { allowed: true, why: "system:masters" };
    const reasons: string[] = [];
    for (const ask of chain) {
      const answer = ask(attributes);
      if (answer?.allowed === true) return answer;
      if (answer !== undefined && answer.why !== "") reasons.push(answer.why);
    }
    return { allowed: false, why: reasons.join(", ") };
  };
}

/** Everything is allowed: what stands behind the insecure port. */
export const alwaysAllow: Authorize = () => ({ allowed: true, why: "" });

function authorizerOf(mode: AuthorizationMode, ports: AuthorizerPorts): Authorizer {
  switch (mode) {
    case "AlwaysAllow":
      return alwaysAllow;
    case "AlwaysDeny":
      return () => ({ allowed: false, why: "Everything is forbidden." });
    case "Node":
      return (attributes) => authorizeNode(attributes, ports.graph);
    case "RBAC":
      return (attributes) => {
        const namespace = attributes.kind === "resource" ? attributes.namespace : "";
        return authorizeRbac(attributes, ports.rules.of(attributes.user, namespace))
          ? { allowed: true, why: "RBAC" }
          : undefined;
      };
    default:
      return mode satisfies never;
  }
}
