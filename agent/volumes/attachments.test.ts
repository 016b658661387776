import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import { Attachments } from "./attachments.ts";

/** An API that answers when it is told to. */
class HeldApi implements Transport {
  readonly waiting: { readonly answer: (body: object) => void; readonly signal: AbortSignal }[] = [];

  async send(_: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    this.waiting.push({ answer: resolve, signal });
    const body = await promise;
    return {
      status: 200,
      headers: { "content-type": "application/json" },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body));
      })(),
    };
  }

  reset(): void {}
  async close(): Promise<void> {}
}

t.test("VO2: the end of one Pod does not end the read that another waits for", async (t) => {
  const api = new HeldApi();
  const attachments = new Attachments(new ApiClient(api), "node-a", new FakeClock());
  const first = new AbortController();
  const one = attachments.of("disk", first.signal);
  const other = attachments.of("disk", new AbortController().signal);
  while (api.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
  first.abort(new Error("the Pod ends"));
  await t.rejects(one, { message: "the Pod ends" });
  t.equal(api.waiting.length, 1, "one read for both");
  t.equal(api.waiting[0]?.signal.aborted, false);
  const volumesAttached = [{ name: "disk", devicePath: "/dev/sdz" }];
  api.waiting[0]?.answer({
    metadata: { name: "node-a" },
    status: { volumesInUse: ["disk"], volumesAttached },
  });
  t.same(await other, { state: "attached", devicePath: "/dev/sdz" });
});
