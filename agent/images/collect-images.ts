import type { Pod } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import type { AgentContext } from "../agent-context.ts";
import { readNodeUse } from "../observe/node-facts.ts";
import { containersOf } from "../plan/containers-of.ts";
import { isPinned, planImageGc, type StoredImage } from "../plan/image-gc.ts";
import { invalidImage } from "../plan/image-name.ts";
import type { ImageStatus } from "../runtime/runtime.ts";

const everyMs = 300_000;

/** How full the disk is; a parameter, so that a test need not fill one. */
export type ReadDisk = () => Promise<{ readonly capacityBytes: number; readonly availableBytes: number }>;

/** What a pass has to know besides the runtime. */
export interface CollectPorts {
  readonly readDisk: ReadDisk;
  /** Pods whose images are wanted although no container of them may be there yet. */
  readonly pods: () => readonly Pod[];
}

/** Removes images that nothing uses when the disk gets full or they get old; looks every five minutes. */
export async function collectImages(
  context: AgentContext,
  pods: () => readonly Pod[],
  signal: AbortSignal,
): Promise<void> {
  const readDisk: ReadDisk = async () => {
    const use = await readNodeUse(context.config.rootDir);
    return { capacityBytes: use.diskCapacityBytes, availableBytes: use.diskAvailableBytes };
  };
  const collector = new ImageCollector(context, { readDisk, pods });
  while (!signal.aborted) {
    await context.clock.sleep(everyMs, signal).catch(() => undefined);
    if (!signal.aborted) await collector.pass(signal);
  }
}

/** Remembers since when each image is unused. All of it may be lost: a new agent counts from its start. */
export class ImageCollector {
  readonly #context: Pick<
    AgentContext,
    "runtime" | "clock" | "config" | "log" | "recorder" | "nodeName" | "pullRecords"
  >;
  readonly #ports: CollectPorts;
  #seen = new Map<string, { readonly firstSeenMs: number; readonly lastUsedMs: number }>();

  constructor(
    context: Pick<
      AgentContext,
      "runtime" | "clock" | "config" | "log" | "recorder" | "nodeName" | "pullRecords"
    >,
    ports: CollectPorts,
  ) {
    this.#context = context;
    this.#ports = ports;
  }

  /** One pass. What fails is said in an event about the node, and tried again with the next. */
  async pass(signal: AbortSignal): Promise<void> {
    const { runtime, clock, config, log } = this.#context;
    try {
      const disk = await this.#ports.readDisk();
      const plan = planImageGc(
        await this.#stored(signal),
        disk,
        {
          highPercent: config.imageGcHighThresholdPercent,
          lowPercent: config.imageGcLowThresholdPercent,
          minAgeMs: config.imageMinAgeMs,
          maxAgeMs: config.imageMaxAgeMs,
        },
        clock.now(),
      );
      const listedMs = clock.now();
      let freedBytes = 0;
      const faults: string[] = [];
      for (const { id, sizeBytes } of plan.remove) {
        log.info("removing an image", { image: id });
        try {
          await runtime.removeImage(id, signal);
          freedBytes += sizeBytes;
        } catch (cause) {
          signal.throwIfAborted();
          faults.push(errorText(cause)); // the others may still go
        }
      }
      await this.#context.pullRecords.keep(
        new Set((await runtime.listImages(signal)).map(({ id }) => id)),
        listedMs,
      );
      if (freedBytes < plan.wantedBytes) {
        this.#say(
          "FreeDiskSpaceFailed",
          `Failed to garbage collect required amount of images. Attempted to free ${plan.wantedBytes} bytes, but only found ${plan.foundBytes} bytes eligible to free.`,
        );
      }
      if (faults.length > 0) this.#say("ImageGCFailed", faults.join("; "));
    } catch (cause) {
      if (signal.aborted) return;
      log.warn("cannot collect images", { cause: errorText(cause) });
      this.#say("ImageGCFailed", errorText(cause));
    }
  }

  async #stored(signal: AbortSignal): Promise<readonly StoredImage[]> {
    const { runtime, clock, config } = this.#context;
    const [images, containers] = await Promise.all([
      runtime.listImages(signal),
      runtime.listContainers({}, signal),
    ]);
    const wanted = new Set(containers.flatMap(({ image, imageRef }) => [image, imageRef]));
    for (const pod of this.#ports.pods()) {
      for (const { container } of containersOf(pod)) wanted.add(container.image ?? "");
      for (const { image } of pod.spec?.volumes ?? []) wanted.add(image?.reference ?? "");
    }
    // Names of Pods are short ("web:1"), those of images whole: the runtime knows which is which.
    const ids = new Set<string>();
    for (const name of wanted) {
      if (invalidImage(name) !== undefined) continue; // of a Pod that can never run
      if (images.some((image) => namesOf(image).includes(name))) continue;
      const found = await runtime.imageStatus(name, signal);
      if (found !== undefined) ids.add(found.id);
    }
    const now = clock.now();
    const before = this.#seen;
    const stored = images.map((image) => {
      const inUse = ids.has(image.id) || namesOf(image).some((name) => wanted.has(name));
      const known = before.get(image.id);
      return {
        id: image.id,
        sizeBytes: image.sizeBytes,
        pinned: image.pinned || isPinned(namesOf(image), config.pinnedImages),
        inUse,
        firstSeenMs: known?.firstSeenMs ?? now,
        lastUsedMs: inUse ? now : (known?.lastUsedMs ?? now),
      };
    });
    this.#seen = new Map(stored.map((image) => [image.id, image]));
    return stored;
  }

  #say(reason: string, message: string): void {
    const { recorder, nodeName } = this.#context;
    recorder.event(
      { apiVersion: "v1", kind: "Node", metadata: { name: nodeName, uid: nodeName } },
      "Warning",
      reason,
      message,
    );
  }
}

function namesOf({ id, repoTags, repoDigests }: ImageStatus): readonly string[] {
  return [id, ...repoTags, ...repoDigests];
}
