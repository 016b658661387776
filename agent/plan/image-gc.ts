/** An image that may go. */
export interface StoredImage {
  readonly id: string;
  readonly sizeBytes: number;
  /** By the runtime, or by the node's settings. */
  readonly pinned: boolean;
  readonly inUse: boolean;
  /** Wall time at which a container last used it, or it was first seen. */
  readonly lastUsedMs: number;
  readonly firstSeenMs: number;
}

/** When images go. */
export interface ImageGcPolicy {
  readonly highPercent: number;
  readonly lowPercent: number;
  readonly minAgeMs: number;
  /** 0 for no limit. */
  readonly maxAgeMs: number;
}

/** The images to remove, in order, and what that falls short of. */
export interface ImageGcPlan {
  readonly remove: readonly StoredImage[];
  /** What the disk needs to get down to `lowPercent`; 0 while it is below `highPercent`. */
  readonly wantedBytes: number;
  /** What the images removed for the disk's sake hold. */
  readonly foundBytes: number;
}

/**
 * First what was unused for too long; then, when the disk is above `highPercent`, the longest unused first until it
 * is down to `lowPercent`. What is in use, pinned or young stays.
 */
export function planImageGc(
  images: readonly StoredImage[],
  disk: { readonly capacityBytes: number; readonly availableBytes: number },
  policy: ImageGcPolicy,
  nowMs: number,
): ImageGcPlan {
  const free = images
    .filter(({ pinned, inUse }) => !pinned && !inUse)
    .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs || a.firstSeenMs - b.firstSeenMs);
  const isOld = ({ lastUsedMs }: StoredImage): boolean =>
    policy.maxAgeMs > 0 && nowMs - lastUsedMs > policy.maxAgeMs;
  const remove = free.filter(isOld);
  const usedBytes = disk.capacityBytes - disk.availableBytes;
  const isFull = disk.capacityBytes > 0 && (usedBytes * 100) / disk.capacityBytes >= policy.highPercent;
  const wantedBytes = isFull ? Math.ceil(usedBytes - (disk.capacityBytes * policy.lowPercent) / 100) : 0;
  let foundBytes = remove.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  for (const image of free) {
    if (foundBytes >= wantedBytes) break;
    if (isOld(image) || nowMs - image.firstSeenMs < policy.minAgeMs) continue;
    remove.push(image);
    foundBytes += image.sizeBytes;
  }
  return { remove, wantedBytes, foundBytes };
}

/** Whether the node's settings keep an image: by tag, digest or id, or by what its name begins with and a `*`. */
export function isPinned(names: readonly string[], pins: readonly string[]): boolean {
  return pins.some((pin) =>
    names.some((name) => (pin.endsWith("*") ? name.startsWith(pin.slice(0, -1)) : name === pin)),
  );
}
