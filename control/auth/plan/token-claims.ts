import type { User } from "../../model.ts";

/** An object by name and identity. */
export interface ObjectId {
  readonly name: string;
  readonly uid: string;
}

/** The payload of a bound ServiceAccount token, as Kubernetes lays it out. Times are seconds since the epoch. */
export interface TokenClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly nbf: number;
  readonly jti: string;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly serviceaccount: ObjectId;
    readonly pod?: ObjectId;
    readonly node?: ObjectId;
    readonly secret?: ObjectId;
    /** When a holder that should have fetched a new token by now is warned about. */
    readonly warnafter?: number;
  };
}

/** `system:serviceaccount:<namespace>:<name>`. */
export function serviceAccountUser(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`;
}

/** The user that a token's holder is. */
export function userOfClaims(claims: TokenClaims): User {
  const bound = claims["kubernetes.io"];
  return {
    name: serviceAccountUser(bound.namespace, bound.serviceaccount.name),
    uid: bound.serviceaccount.uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${bound.namespace}`],
    extra: {
      "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`],
      ...(bound.pod === undefined
        ? {}
        : {
            "authentication.kubernetes.io/pod-name": [bound.pod.name],
            "authentication.kubernetes.io/pod-uid": [bound.pod.uid],
          }),
      ...(bound.node === undefined
        ? {}
        : {
            "authentication.kubernetes.io/node-name": [bound.node.name],
            "authentication.kubernetes.io/node-uid": [bound.node.uid],
          }),
    },
  };
}

/**
 * Reads a token's payload.
 * @returns undefined when it is not one of ours, so that another authenticator may know it.
 */
export function parseClaims(payload: unknown): TokenClaims | undefined {
  if (!isRecord(payload)) return undefined;
  const bound = payload["kubernetes.io"];
  const aud = typeof payload["aud"] === "string" ? [payload["aud"]] : payload["aud"];
  if (!isRecord(bound) || typeof bound["namespace"] !== "string" || !isObjectId(bound["serviceaccount"])) {
    return undefined;
  }
  if (!Array.isArray(aud) || !aud.every((one) => typeof one === "string")) return undefined;
  for (const time of ["exp", "iat", "nbf"]) if (typeof payload[time] !== "number") return undefined;
  for (const word of ["iss", "sub", "jti"]) if (typeof payload[word] !== "string") return undefined;
  for (const kind of ["pod", "node", "secret"]) {
    if (bound[kind] !== undefined && !isObjectId(bound[kind])) return undefined;
  }
  return { ...payload, aud } as unknown as TokenClaims; // every field was checked above
}

/**
 * What is wrong with a token by itself: its issuer, its times, its audience.
 * @param now seconds since the epoch.
 */
export function claimsProblem(
  claims: TokenClaims,
  issuer: string,
  audiences: readonly string[],
  now: number,
): string | undefined {
  if (claims.iss !== issuer) return `token was issued by "${claims.iss}"`;
  if (now >= claims.exp) return "service account token has expired";
  if (now < claims.nbf - 10) return "service account token is not valid yet"; // nodes' clocks differ a little
  if (!claims.aud.some((one) => audiences.includes(one))) {
    return `token audiences ["${claims.aud.join('" "')}"] is invalid for the target audiences ["${audiences.join('" "')}"]`;
  }
  return undefined;
}

function isObjectId(value: unknown): value is ObjectId {
  return isRecord(value) && typeof value["name"] === "string" && typeof value["uid"] === "string";
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
