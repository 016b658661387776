import type { KubeObject } from "#api/meta.ts";
import type { Clock } from "#lib/clock.ts";
import { known, refused, type TokenAuthenticator } from "./authenticator.ts";
import type { Lookup } from "../observe/lookup.ts";
import { claimsProblem, type ObjectId, parseClaims, userOfClaims } from "./plan/token-claims.ts";
import type { TokenKey } from "./token-key.ts";

/** What tokens are checked against: the objects they are bound to. */
export interface BoundObjects {
  readonly serviceAccount: Lookup<KubeObject>;
  readonly pod: Lookup<KubeObject>;
  readonly node: Lookup<KubeObject>;
  readonly secret: Lookup<KubeObject>;
}

/** A bound object may be on its way out this long before its tokens stop working, in milliseconds. */
const graceMs = 60_000;

/**
 * Knows bound ServiceAccount tokens: signature, issuer, times and audience, and that what they are bound to
 * still is there and still is the same object.
 */
export function serviceAccountAuthenticator(
  key: TokenKey,
  issuer: string,
  objects: BoundObjects,
  clock: Clock,
): TokenAuthenticator {
  return async (token, audiences, signal) => {
    const verified = key.verify(token);
    if (verified.state === "foreign") return undefined;
    if (verified.state === "bad-signature") return refused("service account token has a bad signature");
    const claims = parseClaims(verified.payload);
    if (claims === undefined) return refused("service account token has no claims of Kubernetes");
    const problem = claimsProblem(claims, issuer, audiences, clock.now() / 1_000);
    if (problem !== undefined) return refused(problem);
    const { namespace, serviceaccount, pod, node, secret } = claims["kubernetes.io"];
    const bound: readonly [Lookup<KubeObject>, string, ObjectId | undefined, string][] = [
      [objects.serviceAccount, namespace, serviceaccount, "service account"],
      [objects.pod, namespace, pod, "pod"],
      [objects.secret, namespace, secret, "secret"],
      // A token that is bound to a pod names the pod's node as a fact; it outlives that node's Node object.
      [objects.node, "", pod === undefined ? node : undefined, "node"],
    ];
    for (const [find, within, id, what] of bound) {
      if (id === undefined) continue;
      const object = await find(within, id.name, signal);
      if (!isStill(object, id, clock.now())) {
        return refused(`service account token is bound to a ${what} that is gone: "${id.name}"`);
      }
    }
    const audience = claims.aud.filter((one) => audiences.includes(one));
    return { ...known(userOfClaims(claims)), audiences: audience };
  };
}

function isStill(object: KubeObject | undefined, id: ObjectId, nowMs: number): boolean {
  if (object?.metadata?.uid !== id.uid) return false;
  const deleted = object.metadata.deletionTimestamp;
  return deleted === undefined || Date.parse(deleted) + graceMs > nowMs;
}
