import type { Pod } from "#api/generated/kubernetes.ts";
import { quantityValue } from "#api/quantity.ts";
import { podCgroupLimits } from "./container-resources.ts";

/** What an emptyDir volume is made of. */
export type EmptyDirKind =
  | { readonly kind: "disk" }
  /** A tmpfs that takes at most so many bytes. */
  | { readonly kind: "memory"; readonly sizeBytes: number }
  /** A hugetlbfs of pages of this size. */
  | { readonly kind: "huge-pages"; readonly pageBytes: number };

const hugePages = "hugepages-";

/**
 * How to make an emptyDir. Memory is bounded by the smallest of the volume's own limit, the Pod's memory limit and
 * what the node has for Pods; huge pages are of the one size that the Pod's containers ask for, unless the medium
 * names it. A limit on disk is not the mount's: who goes over it is evicted.
 * @param allocatableBytes the node's memory for Pods.
 * @throws Error in the kubelet's words for huge pages that no container asks for, or of several sizes.
 */
export function emptyDirKind(
  pod: Pod,
  { medium = "", sizeLimit }: { readonly medium?: string; readonly sizeLimit?: string },
  allocatableBytes: number,
): EmptyDirKind {
  if (medium === "") return { kind: "disk" };
  if (medium === "Memory") {
    const limits = [podCgroupLimits(pod).memoryBytes, sizeLimit === undefined ? 0 : quantityValue(sizeLimit)];
    const bounds = [allocatableBytes, ...limits.map((bytes) => bytes ?? 0)].filter((bytes) => bytes > 0);
    return { kind: "memory", sizeBytes: bounds.length === 0 ? 0 : Math.min(...bounds) };
  }
  if (medium === "HugePages" || medium.startsWith("HugePages-"))
    return { kind: "huge-pages", pageBytes: pageBytes(pod, medium) };
  throw new Error(`unknown storage medium "${medium}"`);
}

function pageBytes(pod: Pod, medium: string): number {
  const { initContainers = [], containers = [], resources } = pod.spec ?? {};
  const asked = [resources, ...[...initContainers, ...containers].map((container) => container.resources)];
  const sizes = new Set(
    asked
      .flatMap((one) => Object.keys({ ...one?.requests, ...one?.limits }))
      .filter((name) => name.startsWith(hugePages))
      .map((name) => quantityValue(name.slice(hugePages.length))),
  );
  if (medium !== "HugePages") {
    const wanted = quantityValue(medium.slice("HugePages-".length));
    if (!sizes.has(wanted))
      throw new Error(
        `medium ${medium}: hugePages storage requested, but there is no resource request for huge pages`,
      );
    return wanted;
  }
  if (sizes.size > 1)
    throw new Error(`medium: ${medium} can't be used if container requests multiple huge page sizes`);
  const [only] = sizes;
  if (only === undefined)
    throw new Error("hugePages storage requested, but there is no resource request for huge pages");
  return only;
}
