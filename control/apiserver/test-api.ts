import { ApiClient } from "#api/client.ts";
import { type Clock, FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import type { AdmissionPlugin, Attributes, Decision, User } from "../model.ts";
import { SqliteStore } from "../store/sqlite/sqlite-store.ts";
import { ApiServer } from "./api-server.ts";
import { kubernetesContent } from "./content.ts";
import { resourceTable } from "./content/resources.ts";
import { LocalTransport } from "./local-transport.ts";
import type { ApiServerPorts } from "./ports.ts";

/** An API server on a store in memory that lets one user do everything; for tests. */
export interface TestApi extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** One request; the answer's body is read whole and parsed when it is JSON. */
  ask(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
  /** The parsed body, or {} when it is not a JSON object. */
  readonly json: Readonly<Record<string, unknown>>;
}

/** What a test may choose. */
export interface TestApiOptions {
  readonly clock?: Clock;
  readonly user?: User;
  readonly admission?: readonly AdmissionPlugin[];
  readonly authorize?: (attributes: Attributes) => Decision;
  readonly ports?: Partial<ApiServerPorts>;
}

export async function testApi(options: TestApiOptions = {}): Promise<TestApi> {
  const clock = options.clock ?? new FakeClock();
  const store = new SqliteStore(":memory:", clock);
  const user = options.user ?? { name: "admin", groups: ["system:masters", "system:authenticated"] };
  const api = new ApiServer({
    store,
    resources: resourceTable(),
    content: kubernetesContent,
    authenticate: async () => ({ state: "known", user }),
    authorize: options.authorize ?? (() => ({ allowed: true, why: "" })),
    admission: options.admission ?? [],
    issueToken: async (_namespace, _name, request) => ({
      ...request,
      status: { token: "t", expirationTimestamp: "" },
    }),
    virtual: new Map(),
    clock,
    log: noLog,
    ...options.ports,
  });
  const stop = new AbortController();
  await api.start(stop.signal);
  const running = api.run(stop.signal);
  const transport = new LocalTransport(api, user);
  return {
    api,
    client: new ApiClient(transport),
    clock,
    signal: stop.signal,
    ask: (method, path, body, headers = {}) => ask(api, user, method, path, body, headers, stop.signal),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await store.close();
    },
  };
}

async function ask(
  api: ApiServer,
  user: User,
  method: string,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answer> {
  const bytes =
    body === undefined
      ? new Uint8Array()
      : body instanceof Uint8Array
        ? body
        : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const sent = body === undefined ? headers : { "content-type": "application/json", ...headers };
  const response = await api.handle({ method, path, headers: sent, body: async () => bytes, user }, signal);
  const chunks: Uint8Array[] = [];
  if (response.body instanceof Uint8Array) chunks.push(response.body);
  else for await (const chunk of response.body) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  return { status: response.status, headers: response.headers, text, json: parsed(text) };
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
