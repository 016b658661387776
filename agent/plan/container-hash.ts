import { createHash } from "node:crypto";
import type { Container } from "#api/generated/kubernetes.ts";

/** Changes when the container must be replaced: the only mutable field that asks for it is the image. */
export function containerHash(container: Container): string {
  return createHash("sha256")
    .update(JSON.stringify([container.name, container.image ?? ""]))
    .digest("hex")
    .slice(0, 8);
}
