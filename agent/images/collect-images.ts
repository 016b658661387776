import { errorText } from "#lib/log.ts";
import type { AgentContext } from "../agent-context.ts";
import { readNodeUse } from "../observe/node-facts.ts";
import { imagesToRemove } from "../plan/image-gc.ts";

const everyMs = 300_000;

/** Removes images that nothing uses when the disk gets full; looks every five minutes until the signal. */
export async function collectImages(context: AgentContext, signal: AbortSignal): Promise<void> {
  const { runtime, clock, config, log } = context;
  const seen = new Map<string, { firstSeenMs: number; lastUsedMs: number }>();
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const [images, containers, use] = await Promise.all([
        runtime.listImages(signal),
        runtime.listContainers({}, signal),
        readNodeUse(config.rootDir),
      ]);
      const now = clock.now();
      const refs = new Set(containers.flatMap(({ image, imageRef }) => [image, imageRef]));
      const inUse = new Set(
        images
          .filter((image) =>
            [image.id, ...image.repoTags, ...image.repoDigests].some((name) => refs.has(name)),
          )
          .map(({ id }) => id),
      );
      const stored = images.map((image) => {
        const before = seen.get(image.id);
        const times = {
          firstSeenMs: before?.firstSeenMs ?? now,
          lastUsedMs: inUse.has(image.id) ? now : (before?.lastUsedMs ?? now),
        };
        seen.set(image.id, times);
        return { ...image, ...times };
      });
      for (const id of seen.keys()) if (!images.some((image) => image.id === id)) seen.delete(id);
      const thresholds = {
        highPercent: config.imageGcHighThresholdPercent,
        lowPercent: config.imageGcLowThresholdPercent,
      };
      const disk = { capacityBytes: use.diskCapacityBytes, availableBytes: use.diskAvailableBytes };
      for (const id of imagesToRemove(stored, inUse, disk, thresholds, now)) {
        log.info("removing an image", { image: id });
        await runtime.removeImage(id, signal);
      }
    } catch (cause) {
      if (!signal.aborted) log.warn("cannot collect images", { cause: errorText(cause) });
    }
  }
}
