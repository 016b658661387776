import type { User } from "../model.ts";

/** How a request says who it is from. */
export interface Credentials {
  /** Subject of a client certificate that the TLS layer verified against our authority. */
  readonly certificate: CertificateSubject | undefined;
  /** The `Authorization` header. */
  readonly authorization: string | undefined;
  /** The path of the request, without its query: anonymous requests are served for some only. */
  readonly path: string;
}

export interface CertificateSubject {
  readonly commonName: string;
  readonly organizations: readonly string[];
}

/** Who it is, or why nobody is let in (answered with 401). */
export type Authentication =
  | { readonly state: "known"; readonly user: User; readonly audiences?: readonly string[] }
  | { readonly state: "refused"; readonly why: string };

/** One way of knowing a bearer token. Undefined: not a token of mine, ask the next. */
export type TokenAuthenticator = (
  token: string,
  audiences: readonly string[],
  signal: AbortSignal,
) => Promise<Authentication | undefined>;

/** Anonymous requests are served for these paths, and those below them. */
const anonymousPaths = ["/livez", "/readyz", "/healthz"];

export interface AuthenticatorOptions {
  /** Asked in order; the first that knows the token answers. */
  readonly tokens: readonly TokenAuthenticator[];
  /** User name and password to user; only with a basic-auth file. */
  readonly basic?: (name: string, password: string) => User | undefined;
  /** The API server's own audiences. */
  readonly audiences: readonly string[];
}

/** Finds out who asks: client certificate first, then token, then password, then nobody in particular. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  async authenticate(credentials: Credentials, signal: AbortSignal): Promise<Authentication> {
    const { certificate, authorization } = credentials;
    if (certificate !== undefined && certificate.commonName !== "") {
      return known({ name: certificate.commonName, groups: certificate.organizations });
    }
    if (authorization === undefined) return anonymous(credentials.path);
    const [scheme = "", value = ""] = authorization.split(/ +/, 2);
    if (scheme.toLowerCase() === "bearer" && value !== "") {
      return await this.authenticateToken(value, this.#options.audiences, signal);
    }
    if (scheme.toLowerCase() === "basic") {
      const text = Buffer.from(value, "base64").toString("utf8");
      const colon = text.indexOf(":");
      const user = colon < 0 ? undefined : this.#options.basic?.(text.slice(0, colon), text.slice(colon + 1));
      return user === undefined ? refused("invalid username or password") : known(user);
    }
    return refused(`cannot use the authorization scheme "${scheme}"`);
  }

  /** @param audiences the token must be meant for one of them. */
  async authenticateToken(
    token: string,
    audiences: readonly string[],
    signal: AbortSignal,
  ): Promise<Authentication> {
    for (const ask of this.#options.tokens) {
      const answer = await ask(token, audiences, signal);
      if (answer?.state === "known") {
        return { ...answer, user: withGroup(answer.user, "system:authenticated") };
      }
      if (answer !== undefined) return answer;
    }
    return refused("invalid bearer token");
  }
}

/** Adds the group that every known user is in. */
export function known(user: User): Authentication {
  return { state: "known", user: withGroup(user, "system:authenticated") };
}

export function refused(why: string): Authentication {
  return { state: "refused", why };
}

function anonymous(path: string): Authentication {
  if (!anonymousPaths.some((open) => path === open || path.startsWith(`${open}/`))) {
    return refused("no credentials were given");
  }
  return { state: "known", user: { name: "system:anonymous", groups: ["system:unauthenticated"] } };
}

function withGroup(user: User, group: string): User {
  return user.groups.includes(group) ? user : { ...user, groups: [...user.groups, group] };
}
