import type { ApiClient } from "#api/client.ts";
import type { AuthenticationV1TokenRequest, Pod } from "#api/generated/kubernetes.ts";
import { serviceAccounts } from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";

interface Token {
  readonly token: string;
  /** Wall time at which a new one is asked for. */
  readonly refreshAtMs: number;
}

const longestMs = 24 * 3_600_000;

/** Tokens of Pods' service accounts, bound to the Pod, renewed when four fifths of their life have passed. */
export class ServiceAccountTokens {
  readonly #client: ApiClient | undefined;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Map<string, Token>>();

  constructor(client: ApiClient | undefined, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /**
   * Makes sure that every token the Pod's volumes project is there and fresh.
   * @returns wall time at which to come again; undefined when the Pod has no token.
   * @throws the API's answer, when there is no usable token yet.
   */
  async refresh(pod: Pod, signal: AbortSignal): Promise<number | undefined> {
    const uid = pod.metadata?.uid ?? "";
    const projections = (pod.spec?.volumes ?? []).flatMap((volume) =>
      (volume.projected?.sources ?? []).flatMap((source) =>
        source.serviceAccountToken === undefined ? [] : [source.serviceAccountToken],
      ),
    );
    if (projections.length === 0) return undefined;
    const own = this.#tokens.get(uid) ?? new Map<string, Token>();
    this.#tokens.set(uid, own);
    for (const { audience = "", expirationSeconds = 3_607 } of projections) {
      const key = `${audience}\0${expirationSeconds}`;
      const before = own.get(key);
      if (before !== undefined && before.refreshAtMs > this.#clock.now()) continue;
      own.set(key, await this.#request(pod, audience, expirationSeconds, signal));
    }
    return Math.min(...[...own.values()].map(({ refreshAtMs }) => refreshAtMs));
  }

  /** @throws Error when {@link refresh} has not been called for it. */
  token(podUid: string, audience: string, expirationSeconds: number): string {
    const token = this.#tokens.get(podUid)?.get(`${audience}\0${expirationSeconds}`);
    if (token === undefined) throw new Error(`there is no token for audience "${audience}" yet`);
    return token.token;
  }

  forget(podUid: string): void {
    this.#tokens.delete(podUid);
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
          expirationSeconds,
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
        },
      },
      signal,
    );
    const { token = "", expirationTimestamp = "" } = answer.status ?? {};
    const now = this.#clock.now();
    const lifeMs = Math.max(0, Date.parse(expirationTimestamp) - now);
    return {
      token,
      refreshAtMs: now + Math.min(longestMs, (Number.isFinite(lifeMs) ? lifeMs : 3_600_000) * 0.8),
    };
  }
}
