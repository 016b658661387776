import type {
  LocalSubjectAccessReview,
  SelfSubjectAccessReview,
  SelfSubjectReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  TokenReview,
} from "#api/generated/kubernetes.ts";
import { typed } from "./admission/plan/typed.ts";
import { badRequest } from "./api-error.ts";
import type { VirtualHandler, VirtualRequest } from "./apiserver/ports.ts";
import * as reviews from "./auth/reviews.ts";
import { type ComponentCheck, getComponent, listComponents } from "./bootstrap/component-statuses.ts";

/** The kinds that are answered, not stored: reviews, and the health of the parts. */
export function virtualResources(
  ports: () => Promise<reviews.ReviewPorts>,
  components: ReadonlyMap<string, ComponentCheck>,
): ReadonlyMap<string, VirtualHandler> {
  return new Map<string, VirtualHandler>([
    [
      "componentstatuses",
      (request, signal) =>
        request.verb === "list"
          ? listComponents(components, signal)
          : getComponent(components, request.name, signal),
    ],
    [
      "tokenreviews.authentication.k8s.io",
      async (request, signal) => reviews.reviewToken(posted<TokenReview>(request), await ports(), signal),
    ],
    [
      "selfsubjectreviews.authentication.k8s.io",
      async (request) => reviews.reviewSelf(posted<SelfSubjectReview>(request), request.user),
    ],
    [
      "subjectaccessreviews.authorization.k8s.io",
      async (request) => reviews.reviewAccess(posted<SubjectAccessReview>(request), await ports()),
    ],
    [
      "localsubjectaccessreviews.authorization.k8s.io",
      async (request) =>
        reviews.reviewLocalAccess(
          posted<LocalSubjectAccessReview>(request),
          request.namespace,
          await ports(),
        ),
    ],
    [
      "selfsubjectaccessreviews.authorization.k8s.io",
      async (request) =>
        reviews.reviewOwnAccess(posted<SelfSubjectAccessReview>(request), request.user, await ports()),
    ],
    [
      "selfsubjectrulesreviews.authorization.k8s.io",
      async (request) =>
        reviews.reviewOwnRules(posted<SelfSubjectRulesReview>(request), request.user, await ports()),
    ],
  ]);
}

function posted<T extends object>(request: VirtualRequest): T {
  if (request.object === undefined) throw badRequest("cannot answer a review without a body");
  return typed<T>(request.object);
}
