import { parse } from "yaml";
import type { Pod } from "#api/generated/kubernetes.ts";
import { type ManifestSource, manifestsOf, staticPod } from "../plan/static-pod.ts";

/** The one Pod of a manifest. @throws Error for a text that is not one. */
export function podOfManifest(text: string, from: ManifestSource, nodeName: string, seenMs: number): Pod {
  return staticPod(parse(text), from, nodeName, seenMs);
}

/** The Pods of a manifest: one, or a list. @throws Error for a text that is neither. */
export function podsOfManifest(
  text: string,
  from: ManifestSource,
  nodeName: string,
  seenMs: number,
): readonly Pod[] {
  return manifestsOf(parse(text)).map((manifest) => staticPod(manifest, from, nodeName, seenMs));
}
