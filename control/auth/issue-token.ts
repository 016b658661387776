import { randomUUID } from "node:crypto";
import type {
  AuthenticationV1TokenRequest,
  Node,
  Pod,
  Secret,
  ServiceAccount,
} from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { ApiError, badRequest, conflict, invalid, notFound } from "../api-error.ts";
import type { Lookup } from "../observe/lookup.ts";
import { serviceAccountUser, type TokenClaims } from "./plan/token-claims.ts";
import type { TokenKey } from "./token-key.ts";

/** What tokens are made from. */
export interface TokenIssuerPorts {
  readonly key: TokenKey;
  /** `https://kubernetes.default.svc.cluster.local`; also the audience of tokens that ask for none. */
  readonly issuer: string;
  readonly serviceAccount: Lookup<ServiceAccount>;
  readonly pod: Lookup<Pod>;
  readonly secret: Lookup<Secret>;
  readonly node: Lookup<Node>;
  readonly clock: Clock;
}

const minSeconds = 600;
const defaultSeconds = 3_600;
/** What the ServiceAccount admission plugin asks for: such a token lives a year, and warns after this. */
const projectedSeconds = 3_607;
const extendedSeconds = 365 * 86_400;

const reviewOf = { group: "authentication.k8s.io", plural: "tokenrequests", kind: "TokenRequest" };
const accounts = { group: "", plural: "serviceaccounts", kind: "ServiceAccount" };

/**
 * Answers POST serviceaccounts/`name`/token: a token bound to the account and perhaps to a Pod, Secret or Node.
 * @throws {ApiError} 404 for a missing account or object, 409 for one that was made anew, 422 for bad times.
 */
export async function issueToken(
  namespace: string,
  name: string,
  request: AuthenticationV1TokenRequest,
  ports: TokenIssuerPorts,
  signal: AbortSignal,
): Promise<AuthenticationV1TokenRequest> {
  const spec = request.spec ?? { audiences: [] };
  const seconds = spec.expirationSeconds ?? defaultSeconds;
  checkSeconds(name, seconds);
  const account = await ports.serviceAccount(namespace, name, signal);
  if (account === undefined) throw notFound(accounts, name);
  const bound = await boundClaims(namespace, name, spec.boundObjectRef, ports, signal);
  const audiences = (spec.audiences ?? []).length === 0 ? [ports.issuer] : (spec.audiences ?? []);
  const iat = Math.floor(ports.clock.now() / 1_000);
  const extended =
    seconds === projectedSeconds && bound.pod !== undefined && audiences.includes(ports.issuer);
  const claims: TokenClaims = {
    iss: ports.issuer,
    sub: serviceAccountUser(namespace, name),
    aud: audiences,
    exp: iat + (extended ? extendedSeconds : seconds),
    iat,
    nbf: iat,
    jti: randomUUID(),
    "kubernetes.io": {
      namespace,
      serviceaccount: { name, uid: account.metadata?.uid ?? "" },
      ...bound,
      ...(extended ? { warnafter: iat + seconds } : {}),
    },
  };
  return {
    ...request,
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    metadata: {
      ...request.metadata,
      name,
      namespace,
      creationTimestamp: new Date(iat * 1_000).toISOString().replace(/\.\d+Z/, "Z"),
    },
    spec: { ...spec, audiences, expirationSeconds: seconds },
    status: {
      token: ports.key.sign(claims),
      expirationTimestamp: new Date((iat + seconds) * 1_000).toISOString().replace(/\.\d+Z/, "Z"),
    },
  };
}

function checkSeconds(name: string, seconds: number): void {
  const field = "spec.expirationSeconds";
  const wrong = (why: string): ApiError =>
    invalid(reviewOf, name, [
      { reason: "FieldValueInvalid", field, detail: `Invalid value: ${seconds}: ${why}` },
    ]);
  if (seconds < minSeconds) throw wrong("may not specify a duration less than 10 minutes");
  if (seconds > 2 ** 32) throw wrong("may not specify a duration larger than 2^32 seconds");
}

type Bound = Pick<TokenClaims["kubernetes.io"], "pod" | "node" | "secret">;
type BoundRef = NonNullable<AuthenticationV1TokenRequest["spec"]>["boundObjectRef"];

async function boundClaims(
  namespace: string,
  account: string,
  ref: BoundRef,
  ports: TokenIssuerPorts,
  signal: AbortSignal,
): Promise<Bound> {
  if (!ref) return {}; // older clients send `null`
  const name = ref.name ?? "";
  const same = (
    of: { readonly plural: string; readonly kind: string },
    uid: string,
  ): { name: string; uid: string } => {
    if (ref.uid !== undefined && ref.uid !== "" && ref.uid !== uid) {
      throw conflict(
        { ...of, group: "" },
        name,
        `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    }
    return { name, uid };
  };
  const pods = { group: "", plural: "pods", kind: "Pod" };
  const nodes = { group: "", plural: "nodes", kind: "Node" };
  const secrets = { group: "", plural: "secrets", kind: "Secret" };
  switch (`${ref.apiVersion ?? ""}/${ref.kind ?? ""}`) {
    case "v1/Pod": {
      const pod = await ports.pod(namespace, name, signal);
      if (pod === undefined) throw notFound(pods, name);
      if ((pod.spec?.serviceAccountName ?? "") !== account) {
        throw badRequest(
          `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`,
        );
      }
      const nodeName = pod.spec?.nodeName ?? "";
      const node = nodeName === "" ? undefined : await ports.node("", nodeName, signal);
      return {
        pod: same(pods, pod.metadata?.uid ?? ""),
        ...(node === undefined ? {} : { node: { name: nodeName, uid: node.metadata?.uid ?? "" } }),
      };
    }
    case "v1/Secret": {
      const secret = await ports.secret(namespace, name, signal);
      if (secret === undefined) throw notFound(secrets, name);
      return { secret: same(secrets, secret.metadata?.uid ?? "") };
    }
    case "v1/Node": {
      const node = await ports.node("", name, signal);
      if (node === undefined) throw notFound(nodes, name);
      return { node: same(nodes, node.metadata?.uid ?? "") };
    }
    default:
      throw badRequest(`cannot bind token to object of type ${ref.apiVersion ?? ""}, Kind=${ref.kind ?? ""}`);
  }
}
