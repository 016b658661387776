import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { LRUCache } from "lru-cache";
import type { ApiClient } from "#api/client.ts";
import type { User } from "./user.ts";

/** kubelet's authentication.webhook.cacheTTL */
const tokenCacheMs = 120_000;
const reviewMs = 10_000;

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

/** Finds out who calls: by a client certificate of `--client-ca-file`, else by a bearer token that the API knows. */
export class Authenticator {
  readonly #client: ApiClient | undefined;
  readonly #anonymous: boolean;
  readonly #tokens = new LRUCache<string, User>({ max: 1_000, ttl: tokenCacheMs });

  /** @param anonymous whether who shows nothing at all is let on as `system:anonymous`. */
  constructor(client: ApiClient | undefined, anonymous: boolean) {
    this.#client = client;
    this.#anonymous = anonymous;
  }

  /** undefined when nobody can tell: the answer is 401. */
  async authenticate(request: IncomingMessage, signal: AbortSignal): Promise<User | undefined> {
    const user = certificateUser(request) ?? (await this.#tokenUser(request, signal));
    // A token that is not good is refused, not taken for none.
    const showsNothing = request.headers.authorization === undefined;
    return user ?? (this.#anonymous && showsNothing ? anonymousUser : undefined);
  }

  async #tokenUser(request: IncomingMessage, signal: AbortSignal): Promise<User | undefined> {
    const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined || this.#client === undefined) return undefined;
    const known = this.#tokens.get(token);
    if (known !== undefined) return known;
    const { status } = await this.#client.json<TokenReview>(
      "POST",
      "/apis/authentication.k8s.io/v1/tokenreviews",
      { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } },
      AbortSignal.any([signal, AbortSignal.timeout(reviewMs)]),
    );
    if (status?.authenticated !== true || status.user?.username === undefined) return undefined;
    const { username, uid = "", groups = [], extra = {} } = status.user;
    const user = { name: username, uid, groups, extra };
    this.#tokens.set(token, user);
    return user;
  }
}

const anonymousUser: User = {
  name: "system:anonymous",
  uid: "",
  groups: ["system:unauthenticated"],
  extra: {},
};

function certificateUser(request: IncomingMessage): User | undefined {
  if (!isTls(request.socket) || !request.socket.authorized) return undefined;
  const { subject } = request.socket.getPeerCertificate();
  const [name = ""] = listOf(subject?.CN);
  return name === "" ? undefined : { name, uid: "", groups: listOf(subject.O), extra: {} };
}

/** Node gives a repeated part of a subject as an array, which its types do not say. */
function listOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === "string");
}

function isTls(socket: unknown): socket is TLSSocket {
  return typeof socket === "object" && socket !== null && "authorized" in socket;
}
