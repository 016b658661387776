import { LRUCache } from "lru-cache";
import type { ApiClient } from "#api/client.ts";
import type { Access, Verb } from "./access.ts";
import type { User } from "./user.ts";

/** kubelet's authorization.webhook.cacheAuthorizedTTL and cacheUnauthorizedTTL */
const allowedMs = 300_000;
const deniedMs = 30_000;
const reviewMs = 10_000;

interface SubjectAccessReview {
  readonly status?: { readonly allowed?: boolean };
}

/** Asks the API whether a user may use this node's server. */
export class Authorizer {
  readonly #client: ApiClient | undefined;
  readonly #nodeName: string;
  readonly #answers = new LRUCache<string, { readonly allowed: boolean }>({ max: 10_000 });

  constructor(client: ApiClient | undefined, nodeName: string) {
    this.#client = client;
    this.#nodeName = nodeName;
  }

  /** Members of system:masters and the API server's own certificate pass without a question. */
  async mayAccess(user: User, access: Access, signal: AbortSignal): Promise<boolean> {
    if (user.groups.includes("system:masters") || user.name === "kube-apiserver-kubelet-client") return true;
    for (const verb of access.verbs) {
      if (!(await this.#anyAllowed(user, verb, access.subresources, signal))) return false;
    }
    return true;
  }

  async #anyAllowed(
    user: User,
    verb: Verb,
    subresources: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    for (const subresource of subresources) {
      if (await this.#allowed(user, verb, subresource, signal)) return true;
    }
    return false;
  }

  async #allowed(user: User, verb: Verb, subresource: string, signal: AbortSignal): Promise<boolean> {
    if (this.#client === undefined) return false;
    const key = JSON.stringify([user, verb, subresource]);
    const known = this.#answers.get(key);
    if (known !== undefined) return known.allowed;
    const { status } = await this.#client.json<SubjectAccessReview>(
      "POST",
      "/apis/authorization.k8s.io/v1/subjectaccessreviews",
      {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: {
          user: user.name,
          uid: user.uid,
          groups: user.groups,
          extra: user.extra,
          resourceAttributes: {
            verb,
            group: "",
            version: "v1",
            resource: "nodes",
            subresource,
            name: this.#nodeName,
          },
        },
      },
      AbortSignal.any([signal, AbortSignal.timeout(reviewMs)]),
    );
    const allowed = status?.allowed === true;
    this.#answers.set(key, { allowed }, { ttl: allowed ? allowedMs : deniedMs });
    return allowed;
  }
}
