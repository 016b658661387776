import type { ApiClient } from "#api/client.ts";
import type { AuthenticationV1TokenRequest, Pod } from "#api/generated/kubernetes.ts";
import { serviceAccounts } from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";
import type { KnownToken } from "../plan/pod-cache-text.ts";

/** What is done about tokens while the API is out of reach. */
export interface TokenMemory {
  /** Whether it is: Pods run from what was known. */
  readonly away: boolean;
  /** The token that an earlier life had. */
  token(podUid: string, audience: string, expirationSeconds: number): KnownToken | undefined;
  /** Tokens are other ones. */
  changed(): void;
}

/** A token, and how long it is good for. */
export interface Token {
  /** "" for one that cannot be had while the API is out of reach. */
  readonly token: string;
  /** Wall time at which a new one is asked for. */
  readonly refreshAtMs: number;
  readonly expiresAtMs: number;
}

const longestMs = 24 * 3_600_000;
/** Until a token that could not be renewed is asked for again. */
const againMs = 10_000;
/** While the API is out of reach nobody is asked; this soon after it is back, it is. */
const awayMs = 2_000;

/** Tokens of Pods' service accounts, bound to the Pod, renewed when four fifths of their life have passed. */
export class ServiceAccountTokens {
  readonly #client: ApiClient | undefined;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Map<string, Token>>();
  readonly #memory: TokenMemory | undefined;
  readonly #missing: (pod: Pod) => void;

  /** @param missing told of each Pod that has to begin without a token. */
  constructor(
    client: ApiClient | undefined,
    clock: Clock,
    memory?: TokenMemory,
    missing: (pod: Pod) => void = () => {},
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#memory = memory;
    this.#missing = missing;
  }

  /**
   * Makes sure that every token the Pod's volumes project is there and fresh.
   * @returns wall time at which to come again; undefined when the Pod has no token.
   * @throws the API's answer, when there is no usable token yet.
   */
  async refresh(pod: Pod, signal: AbortSignal): Promise<number | undefined> {
    const projections = (pod.spec?.volumes ?? []).flatMap((volume) =>
      (volume.projected?.sources ?? []).flatMap((source) =>
        source.serviceAccountToken === undefined ? [] : [source.serviceAccountToken],
      ),
    );
    if (projections.length === 0) return undefined;
    const times: number[] = [];
    for (const { audience = "", expirationSeconds = 3_607 } of projections)
      times.push((await this.fresh(pod, audience, expirationSeconds, signal)).refreshAtMs);
    return Math.min(...times);
  }

  /**
   * The Pod's token for an audience, a new one when four fifths of its life have passed.
   * @param expirationSeconds 0 for the API's own choice.
   * @throws the API's answer.
   */
  async fresh(pod: Pod, audience: string, expirationSeconds: number, signal: AbortSignal): Promise<Token> {
    const uid = pod.metadata?.uid ?? "";
    const own = this.#tokens.get(uid) ?? new Map<string, Token>();
    this.#tokens.set(uid, own);
    const key = `${audience}\0${expirationSeconds}`;
    const before = own.get(key);
    if (before !== undefined && before.refreshAtMs > this.#clock.now()) return before;
    const token =
      this.#memory?.away === true
        ? this.#recalled(pod, audience, expirationSeconds)
        : await this.#renewed(pod, audience, expirationSeconds, before, signal);
    own.set(key, token);
    return token;
  }

  /** @throws Error when {@link refresh} has not been called for it. */
  token(podUid: string, audience: string, expirationSeconds: number): string {
    const token = this.#tokens.get(podUid)?.get(`${audience}\0${expirationSeconds}`);
    if (token === undefined) throw new Error(`there is no token for audience "${audience}" yet`);
    return token.token;
  }

  forget(podUid: string): void {
    if (this.#tokens.delete(podUid)) this.#memory?.changed();
  }

  /** Every token there is. */
  known(): readonly KnownToken[] {
    return [...this.#tokens].flatMap(([podUid, own]) =>
      [...own].flatMap(([key, token]) => {
        const [audience = "", seconds = ""] = key.split("\0");
        return token.token === "" ? [] : [{ podUid, audience, expirationSeconds: Number(seconds), ...token }];
      }),
    );
  }

  /** The last one while it lives, else none: a Pod that begins without it reads the new one when the API is back. */
  #recalled(pod: Pod, audience: string, expirationSeconds: number): Token {
    const uid = pod.metadata?.uid ?? "";
    const now = this.#clock.now();
    const known = this.#memory?.token(uid, audience, expirationSeconds);
    const isAlive = known !== undefined && known.expiresAtMs > now;
    const before = this.#tokens.get(uid)?.get(`${audience}\0${expirationSeconds}`);
    if (!isAlive && before === undefined) this.#missing(pod);
    return {
      token: isAlive ? known.token : "",
      refreshAtMs: now + awayMs,
      expiresAtMs: isAlive ? known.expiresAtMs : now,
    };
  }

  /** A new token; the one before when none is to be had and it still lives. */
  async #renewed(
    pod: Pod,
    audience: string,
    expirationSeconds: number,
    before: Token | undefined,
    signal: AbortSignal,
  ): Promise<Token> {
    try {
      const token = await this.#request(pod, audience, expirationSeconds, signal);
      this.#memory?.changed();
      return token;
    } catch (cause) {
      const now = this.#clock.now();
      if (signal.aborted || before === undefined || before.token === "" || before.expiresAtMs <= now)
        throw cause;
      return { ...before, refreshAtMs: now + againMs };
    }
  }

  async #request(pod: Pod, audience: string, expirationSeconds: number, signal: AbortSignal): Promise<Token> {
    const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
    if (this.#client === undefined) throw new Error("a service account token needs an API server");
    const account = pod.spec?.serviceAccountName ?? "default";
    const answer = await this.#client.createSubresource<AuthenticationV1TokenRequest>(
      serviceAccounts,
      { namespace, name: account },
      "token",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        metadata: { name: account, namespace },
        spec: {
          audiences: audience === "" ? [] : [audience],
          ...(expirationSeconds === 0 ? {} : { expirationSeconds }),
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
        },
      },
      signal,
    );
    const { token = "", expirationTimestamp = "" } = answer.status ?? {};
    const now = this.#clock.now();
    const lifeMs = Math.max(0, Date.parse(expirationTimestamp) - now);
    const knownLifeMs = Number.isFinite(lifeMs) ? lifeMs : 3_600_000;
    return {
      token,
      refreshAtMs: now + Math.min(longestMs, knownLifeMs * 0.8),
      expiresAtMs: now + knownLifeMs,
    };
  }
}
