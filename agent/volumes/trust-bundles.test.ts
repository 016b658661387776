import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { TrustBundles } from "./trust-bundles.ts";

const pem = (text: string): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(text).toString("base64")}\n-----END CERTIFICATE-----\n`;

/** An API with bundles, each list of which can be watched: `add` tells every watch. */
class FakeBundles implements Transport {
  readonly bundles: object[] = [];
  /** Field selectors that are being watched. */
  readonly watched: string[] = [];
  lists = 0;
  #revision = 1;
  #next = Promise.withResolvers<string>();

  add(name: string, signerName: string, text: string, labels: object = {}): void {
    this.#revision += 1;
    const metadata = { name, uid: name, resourceVersion: String(this.#revision), labels };
    const object = { metadata, spec: { signerName, trustBundle: pem(text) } };
    this.bundles.push(object);
    this.#next.resolve(`${JSON.stringify({ type: "ADDED", object })}\n`);
    this.#next = Promise.withResolvers<string>();
  }

  async send({ path }: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    const query = new URL(path, "http://x").searchParams;
    const selector = query.get("fieldSelector") ?? "";
    return {
      status: 200,
      headers: { "content-type": "application/json" },
      body: query.has("watch") ? this.#watch(selector, signal) : this.#list(selector),
    };
  }

  reset(): void {}
  async close(): Promise<void> {}

  async *#list(selector: string): AsyncGenerator<Uint8Array> {
    this.lists += 1;
    const [field = "", wanted = ""] = selector.split("=");
    const items = this.bundles.filter((bundle) =>
      JSON.stringify(bundle).includes(`"${field.split(".")[1]}":"${wanted}"`),
    );
    yield Buffer.from(JSON.stringify({ metadata: { resourceVersion: String(this.#revision) }, items }));
  }

  async *#watch(selector: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signal.throwIfAborted();
    this.watched.push(selector);
    const ended = new Promise<never>((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
    );
    try {
      for (;;) yield Buffer.from(await Promise.race([this.#next.promise, ended]));
    } finally {
      this.watched.splice(this.watched.indexOf(selector), 1);
    }
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test(
  "VO9: bundles are watched by name and by signer, once for all Pods, while one uses them",
  async (t) => {
    const api = new FakeBundles();
    api.add("corp", "example.com/corp", "one", { kind: "live" });
    const told: string[] = [];
    const ports = { client: new ApiClient(api), clock: new FakeClock(), log: noLog, random: () => 0 };
    const bundles = new TrustBundles(ports, (uid) => told.push(uid));
    t.teardown(() => bundles.close());
    const named = { name: "corp", path: "ca.pem" };
    const signed = {
      signerName: "example.com/corp",
      labelSelector: { matchLabels: { kind: "live" } },
      path: "ca.pem",
    };
    t.match(bundles.text("u1", named), { state: "loading", why: /still being read/ });
    bundles.text("u1", signed);
    bundles.text("u2", { ...signed, labelSelector: {} });
    while (api.watched.length < 2) await turn();
    t.same(api.watched.toSorted(), ["metadata.name=corp", "spec.signerName=example.com/corp"]);
    t.equal(api.lists, 2);
    t.ok(told.includes("u1") && told.includes("u2"), "they hear that it is there");
    const one = { state: "found", object: pem("one") };
    t.same(bundles.text("u1", named), one);
    t.same(bundles.text("u1", signed), one);
    t.same(bundles.text("u1", { name: "none", path: "x" }).state, "loading");

    told.length = 0;
    api.add("corp-2", "example.com/corp", "two", { kind: "test" });
    while (!told.includes("u2")) await turn();
    const both = bundles.text("u2", { ...signed, labelSelector: {} });
    t.ok(both.state === "found" && both.object.includes(pem("one")) && both.object.includes(pem("two")));
    t.same(bundles.text("u1", signed), one, "the label says no");
    t.same(bundles.text("u1", { signerName: "example.com/corp", path: "x" }), { state: "absent" });

    bundles.forget("u1");
    while (api.watched.length > 1) await turn();
    t.same(api.watched, ["spec.signerName=example.com/corp"], "the other Pod uses it still");
    bundles.forget("u2");
    while (api.watched.length > 0) await turn();
    const without = new TrustBundles({ ...ports, client: undefined }, () => undefined);
    t.match(without.text("u1", named), { state: "loading", why: /without an API server/ });
  },
);
