import type {
  LocalSubjectAccessReview,
  NonResourceRule,
  PolicyRule,
  ResourceRule,
  SelfSubjectAccessReview,
  SelfSubjectReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  SubjectAccessReviewSpec,
  TokenReview,
} from "#api/generated/kubernetes.ts";
import { badRequest } from "../api-error.ts";
import type { Attributes, User } from "../model.ts";
import type { Authenticator } from "./authenticator.ts";
import type { Authorize } from "./authorizer.ts";

/** What questions about access and identity are answered from. */
export interface ReviewPorts {
  readonly authorize: Authorize;
  /** A user's rules in a namespace. */
  readonly rulesOf: (user: User, namespace: string) => Iterable<PolicyRule>;
  readonly authenticator: Authenticator;
  /** The API server's own audiences. */
  readonly audiences: readonly string[];
}

/** SubjectAccessReview: may this other user? */
export function reviewAccess(review: SubjectAccessReview, ports: ReviewPorts): SubjectAccessReview {
  const spec = review.spec ?? {};
  return { ...review, status: decide(spec, subjectOf(spec), ports) };
}

/** LocalSubjectAccessReview: the same within the namespace of the request. */
export function reviewLocalAccess(
  review: LocalSubjectAccessReview,
  namespace: string,
  ports: ReviewPorts,
): LocalSubjectAccessReview {
  const asked = review.spec?.resourceAttributes;
  if (asked === undefined)
    throw badRequest("spec.resourceAttributes: Required value: must be set for a local review");
  if ((asked.namespace ?? "") !== namespace) {
    throw badRequest(
      `spec.resourceAttributes.namespace: Invalid value: "${asked.namespace ?? ""}": must match metadata.namespace`,
    );
  }
  return { ...review, status: decide(review.spec ?? {}, subjectOf(review.spec ?? {}), ports) };
}

/** SelfSubjectAccessReview: may I? What `kubectl auth can-i` asks. */
export function reviewOwnAccess(
  review: SelfSubjectAccessReview,
  user: User,
  ports: ReviewPorts,
): SelfSubjectAccessReview {
  return { ...review, status: decide(review.spec ?? {}, user, ports) };
}

/** SelfSubjectRulesReview: what may I? What `kubectl auth can-i --list` asks. */
export function reviewOwnRules(
  review: SelfSubjectRulesReview,
  user: User,
  ports: ReviewPorts,
): SelfSubjectRulesReview {
  const resourceRules: ResourceRule[] = [];
  const nonResourceRules: NonResourceRule[] = [];
  const all = user.groups.includes("system:masters")
    ? [
        { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
        { verbs: ["*"], nonResourceURLs: ["*"] },
      ]
    : ports.rulesOf(user, review.spec?.namespace ?? "");
  for (const rule of all as Iterable<PolicyRule>) {
    const { verbs, apiGroups = [], resources = [], resourceNames, nonResourceURLs = [] } = rule;
    if (nonResourceURLs.length > 0) nonResourceRules.push({ verbs, nonResourceURLs });
    if (resources.length > 0) {
      resourceRules.push({
        verbs,
        apiGroups,
        resources,
        ...(resourceNames === undefined ? {} : { resourceNames }),
      });
    }
  }
  return { ...review, status: { resourceRules, nonResourceRules, incomplete: false } };
}

/** SelfSubjectReview: who am I? What `kubectl auth whoami` asks. */
export function reviewSelf(review: SelfSubjectReview, user: User): SelfSubjectReview {
  return { ...review, status: { userInfo: userInfo(user) } };
}

/** TokenReview: whose token is this? */
export async function reviewToken(
  review: TokenReview,
  ports: ReviewPorts,
  signal: AbortSignal,
): Promise<TokenReview> {
  const token = review.spec?.token ?? "";
  if (token === "") throw badRequest("token is required for TokenReview in authentication");
  const audiences = review.spec?.audiences ?? [];
  const wanted = audiences.length === 0 ? ports.audiences : audiences;
  const found = await ports.authenticator.authenticateToken(token, wanted, signal);
  if (found.state === "refused") {
    return { ...review, status: { authenticated: false, user: {}, error: found.why } };
  }
  return {
    ...review,
    status: {
      authenticated: true,
      user: userInfo(found.user),
      audiences: found.audiences ?? ports.audiences,
    },
  };
}

/** A user as reviews and admission webhooks spell it. */
export function userInfo(user: User): {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
} {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: user.groups,
    ...(user.extra === undefined ? {} : { extra: user.extra }),
  };
}

type Asked = Pick<SubjectAccessReviewSpec, "resourceAttributes" | "nonResourceAttributes">;

function decide(spec: Asked, user: User, ports: ReviewPorts): { allowed: boolean; reason?: string } {
  const attributes = attributesOf(spec, user);
  const decision = ports.authorize(attributes);
  return { allowed: decision.allowed, ...(decision.why === "" ? {} : { reason: decision.why }) };
}

function attributesOf(spec: Asked, user: User): Attributes {
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec;
  if ((resource === undefined) === (path === undefined)) {
    throw badRequest(
      "spec: Invalid value: exactly one of resourceAttributes and nonResourceAttributes must be specified",
    );
  }
  if (path !== undefined) return { kind: "path", user, verb: path.verb ?? "", path: path.path ?? "" };
  return {
    kind: "resource",
    user,
    verb: resource?.verb ?? "",
    group: resource?.group ?? "",
    version: resource?.version ?? "",
    resource: resource?.resource ?? "",
    subresource: resource?.subresource ?? "",
    namespace: resource?.namespace ?? "",
    name: resource?.name ?? "",
  };
}

function subjectOf(spec: SubjectAccessReviewSpec): User {
  const { user = "", groups = [], uid, extra } = spec;
  if (user === "" && groups.length === 0) {
    throw badRequest("spec.user: Invalid value: at least one of user or group must be specified");
  }
  return {
    name: user,
    groups,
    ...(uid === undefined ? {} : { uid }),
    ...(extra === undefined ? {} : { extra }),
  };
}
