/** An image that may go. */
export interface StoredImage {
  readonly id: string;
  readonly sizeBytes: number;
  readonly pinned: boolean;
  /** Wall time at which a container last used it, or it was first seen. */
  readonly lastUsedMs: number;
  readonly firstSeenMs: number;
}

const youngestMs = 120_000;

/** The images to remove, longest unused first, to get the disk from above `highPercent` down to `lowPercent`. */
export function imagesToRemove(
  images: readonly StoredImage[],
  inUse: ReadonlySet<string>,
  disk: { readonly capacityBytes: number; readonly availableBytes: number },
  thresholds: { readonly highPercent: number; readonly lowPercent: number },
  nowMs: number,
): readonly string[] {
  const usedBytes = disk.capacityBytes - disk.availableBytes;
  if (disk.capacityBytes === 0 || (usedBytes * 100) / disk.capacityBytes < thresholds.highPercent) return [];
  let toFree = usedBytes - (disk.capacityBytes * thresholds.lowPercent) / 100;
  const removed: string[] = [];
  const candidates = images
    .filter(({ id, pinned, firstSeenMs }) => !pinned && !inUse.has(id) && nowMs - firstSeenMs >= youngestMs)
    .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs);
  for (const image of candidates) {
    if (toFree <= 0) break;
    removed.push(image.id);
    toFree -= image.sizeBytes;
  }
  return removed;
}
