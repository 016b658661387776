/** Runs on the test machine: durable writes a second, and the time from a write to its event at 100 watchers. */
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { configMaps } from "#api/resources.ts";

const client = new ApiClient(new HttpTransport(loadKubeconfig("/etc/keelson/admin.kubeconfig")));
const signal = AbortSignal.timeout(120_000);
const data = { text: "x".repeat(1_500) };

const writesPerSecond: number[] = [];
for (let round = 0; round < 3; round += 1) {
  const startedMs = performance.now();
  let written = 0;
  const writer = async (number: number): Promise<void> => {
    for (let index = 0; performance.now() - startedMs < 2_000; index += 1) {
      await client.create(
        configMaps,
        { metadata: { namespace: "default", name: `load-${round}-${number}-${index}` }, data },
        {},
        signal,
      );
      written += 1;
    }
  };
  await Promise.all(Array.from({ length: 32 }, (_, number) => writer(number)));
  writesPerSecond.push((written / (performance.now() - startedMs)) * 1_000);
}

const watchMs: number[] = [];
const sentMs = new Map<string, number>();
const stop = new AbortController();
const { metadata } = await client.list(configMaps, { namespace: "default", limit: 1 }, signal);
const watchers = Array.from({ length: 100 }, async () => {
  try {
    const options = {
      namespace: "default",
      ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    };
    for await (const event of client.watch(configMaps, options, stop.signal)) {
      const sent = sentMs.get(event.object.metadata?.name ?? "");
      if (sent !== undefined) watchMs.push(performance.now() - sent);
    }
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
  }
});
await new Promise((resolve) => setTimeout(resolve, 1_000));
for (let index = 0; index < 100; index += 1) {
  const name = `seen-${index}`;
  sentMs.set(name, performance.now());
  await client.create(configMaps, { metadata: { namespace: "default", name }, data }, {}, signal);
  await new Promise((resolve) => setTimeout(resolve, 10));
}
await new Promise((resolve) => setTimeout(resolve, 1_000));
stop.abort();
await Promise.all(watchers);
// Every hundredth of the sorted times: the spread stays what it is, and the answer short.
const sample = watchMs.toSorted((a, b) => a - b).filter((_, index) => index % 100 === 50);
console.log(JSON.stringify({ writesPerSecond, watchMs: sample }));
process.exit(0);
