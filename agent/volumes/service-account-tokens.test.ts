import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import type { KnownToken } from "../plan/pod-cache-text.ts";
import { testPod } from "../plan/pod-fixtures.ts";
import { ServiceAccountTokens, type TokenMemory } from "./service-account-tokens.ts";

const pod: Pod = testPod({
  volumes: [
    {
      name: "api",
      projected: { sources: [{ serviceAccountToken: { path: "token", expirationSeconds: 3_600 } }] },
    },
  ],
});
const hourMs = 3_600_000;

/** A server that makes numbered tokens of an hour, while it is there. */
class TokenServer implements Transport {
  isThere = true;
  /** What was asked for: path and body. */
  readonly asked: string[] = [];
  lifeMs = hourMs;
  #made = 0;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async send({ path, body }: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    if (!this.isThere) throw new Error("connection refused");
    this.#made += 1;
    this.asked.push(`${path} ${String(body)}`);
    const expirationTimestamp = new Date(this.#clock.now() + this.lifeMs).toISOString();
    return {
      status: 200,
      headers: {},
      body: one({ status: { token: `t${this.#made}`, expirationTimestamp } }),
    };
  }

  reset(): void {}
  async close(): Promise<void> {}
}

async function* one(answer: object): AsyncGenerator<Uint8Array> {
  yield Buffer.from(JSON.stringify(answer));
}

function set(known?: Omit<KnownToken, "podUid" | "audience" | "expirationSeconds">) {
  const clock = new FakeClock();
  const server = new TokenServer(clock);
  const memory = {
    away: false,
    token: () => known && { podUid: "u1", audience: "", expirationSeconds: 3_600, ...known },
    changed: () => {},
  };
  const bare: string[] = [];
  const port: TokenMemory = memory;
  const tokens = new ServiceAccountTokens(new ApiClient(server), clock, port, ({ metadata }) =>
    bare.push(metadata?.name ?? ""),
  );
  const refresh = (): Promise<number | undefined> => tokens.refresh(pod, AbortSignal.timeout(5_000));
  return { clock, server, memory, bare, tokens, refresh, token: () => tokens.token("u1", "", 3_600) };
}

t.test("VO9: a token is renewed when four fifths of its life have passed", async (t) => {
  const { clock, refresh, token } = set();
  t.equal(await refresh(), clock.now() + 0.8 * hourMs);
  await clock.advance(0.8 * hourMs - 1);
  await refresh();
  t.equal(token(), "t1");
  await clock.advance(1);
  await refresh();
  t.equal(token(), "t2");
});

t.test("VO9: a token is bound to its Pod, and one that lives long is renewed after a day", async (t) => {
  const { clock, server, tokens, refresh } = set();
  server.lifeMs = 72 * hourMs;
  t.equal(await refresh(), clock.now() + 24 * hourMs);
  t.match(server.asked[0], /^\/api\/v1\/namespaces\/default\/serviceaccounts\/default\/token /);
  t.match(server.asked[0], /"expirationSeconds":3600,/);
  t.match(server.asked[0], /"boundObjectRef":\{"apiVersion":"v1","kind":"Pod","name":"web","uid":"u1"\}/);
  tokens.forget("u1");
  t.throws(() => tokens.token("u1", "", 3_600), /there is no token for audience "" yet/);
});

t.test("VO9: a token that cannot be renewed is kept while it lives", async (t) => {
  const { clock, server, refresh, token } = set();
  await refresh();
  server.isThere = false;
  await clock.advance(0.9 * hourMs);
  t.equal(await refresh(), clock.now() + 10_000);
  t.equal(token(), "t1");
  await clock.advance(0.1 * hourMs);
  await t.rejects(refresh(), /connection refused/);
  server.isThere = true;
  await refresh();
  t.equal(token(), "t2");
});

t.test("ML8: with no API in reach the last token is used while it lives", async (t) => {
  const now = new FakeClock().now();
  const { clock, memory, bare, refresh, token } = set({
    token: "old",
    refreshAtMs: 0,
    expiresAtMs: now + 3_000,
  });
  memory.away = true;
  await refresh();
  t.equal(token(), "old");
  t.same(bare, []);
  await clock.advance(4_000);
  await refresh();
  t.equal(token(), "", "it has ended");
});

t.test("ML8: a Pod begins with an empty token, said once, and gets one when the API is back", async (t) => {
  const { clock, server, memory, bare, tokens, refresh, token } = set();
  memory.away = true;
  server.isThere = false;
  const againAtMs = (await refresh()) ?? 0;
  t.ok(againAtMs - clock.now() <= 5_000, "soon");
  t.equal(token(), "");
  t.same(tokens.known(), [], "an empty one is not remembered");
  await clock.advance(5_000);
  await refresh();
  t.same(bare, ["web"]);
  memory.away = false;
  server.isThere = true;
  await clock.advance(5_000);
  await refresh();
  t.equal(token(), "t1");
});
