import type { ApiClient } from "#api/client.ts";
import { endpointSlices, endpoints, services } from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { reconcile } from "#lib/reconcile.ts";
import { WorkQueue } from "#lib/work-queue.ts";
import type { Tables } from "../controllers/tables.ts";
import { publish } from "./bootstrap.ts";
import type { Published } from "./plan/first-objects.ts";

/** Repairs what no event told of, in milliseconds. */
const fullPassMs = 300_000;

/** Writes default/kubernetes and kube-system/kube-dns again whenever somebody changes or deletes them. */
export async function keepPublished(
  ports: { readonly client: ApiClient; readonly tables: Tables; readonly clock: Clock; readonly log: Log },
  published: Published,
  signal: AbortSignal,
): Promise<void> {
  const ours = new Set(["default/kubernetes", "kube-system/kube-dns"]);
  const dirty = new WorkQueue<"all">({
    limit: 1,
    backoff: { firstMs: 100, maxMs: 10_000 },
    clock: ports.clock,
  });
  const mark = (key: string): void => {
    if (ours.has(key)) dirty.add("all");
  };
  const stops = [services, endpoints, endpointSlices].map((resource) =>
    ports.tables.of<object>(resource).subscribe(mark),
  );
  try {
    await reconcile(
      dirty,
      async (_key, stop) => {
        await publish(ports.client, published, stop);
        dirty.addAfter("all", fullPassMs);
      },
      (_key, cause) => ports.log.warn("cannot publish the API's address", { cause: errorText(cause) }),
      signal,
    );
  } finally {
    for (const stop of stops) stop();
    dirty.close();
  }
}
