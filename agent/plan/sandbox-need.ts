import type { Pod } from "#api/generated/kubernetes.ts";
import type { PodRuntime } from "../model.ts";
import type { SandboxStatus } from "../runtime/runtime.ts";
import { newestSandbox } from "./container-records.ts";

/** Whether the Pod's sandbox can go on being used. */
export type SandboxNeed =
  | { readonly need: "none"; readonly sandbox: SandboxStatus }
  | {
      readonly need: "create";
      /** All sandboxes there are; they and what is in them have to stop first. */
      readonly replaces: readonly SandboxStatus[];
      readonly attempt: number;
    };

/** A sandbox is replaced when it is gone, not ready, not alone, on the wrong network, or without an address. */
export function sandboxNeed(pod: Pod, runtime: PodRuntime): SandboxNeed {
  const newest = newestSandbox(runtime);
  const ready = runtime.sandboxes.filter((sandbox) => sandbox.state === "ready");
  const network = pod.spec?.hostNetwork === true ? "node" : "pod";
  const good =
    newest !== undefined &&
    ready.length === 1 &&
    newest.state === "ready" &&
    newest.network === network &&
    (network === "node" || newest.ips.length > 0);
  if (good) return { need: "none", sandbox: newest };
  const attempt = Math.max(-1, ...runtime.sandboxes.map((sandbox) => sandbox.attempt)) + 1;
  return { need: "create", replaces: runtime.sandboxes, attempt };
}
