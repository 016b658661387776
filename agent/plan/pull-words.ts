import type { PullProgress } from "../runtime/runtime.ts";

/** How a pull failed, as a container's waiting reason. */
export type PullFailure = "ErrImagePull" | "RegistryUnavailable" | "SignatureValidationFailed";

/**
 * Which failure it was, and the kubelet's sentence for it. Runtimes put the two special words into their message
 * (kubernetes/cri-api pkg/errors).
 */
export function pullFailure(
  image: string,
  message: string,
): { readonly reason: PullFailure; readonly message: string } {
  const special = /(?:^|\W)(RegistryUnavailable|SignatureValidationFailed)\b:? ?(.*)/s.exec(message);
  const [, word, more = ""] = special ?? [];
  const rest = more === "" ? "" : `: ${more}`;
  if (word === "RegistryUnavailable")
    return {
      reason: word,
      message: `image pull failed for ${image} because the registry is unavailable${rest}`,
    };
  if (word === "SignatureValidationFailed")
    return {
      reason: word,
      message: `image pull failed for ${image} because the signature validation failed${rest}`,
    };
  return { reason: "ErrImagePull", message };
}

/** Whether a reason is that of a failed pull, which backs off. */
export function isPullFailure(reason: string): reason is PullFailure {
  return (
    reason === "ErrImagePull" || reason === "RegistryUnavailable" || reason === "SignatureValidationFailed"
  );
}

/** The Pulled event after a pull. @param waitedMs with the wait for its turn. */
export function pulledWords(image: string, tookMs: number, waitedMs: number, sizeBytes: number): string {
  return `Successfully pulled image "${image}" in ${goDuration(tookMs)} (${goDuration(waitedMs)} including waiting). Image size: ${sizeBytes} bytes.`;
}

/** What is said of a pull that takes long. @param progress undefined where the runtime does not tell. */
export function stillPullingWords(
  image: string,
  afterMs: number,
  progress: PullProgress | undefined,
): string {
  const after = goDuration(Math.round(afterMs / 1_000) * 1_000);
  const how =
    progress === undefined || progress.totalBytes === 0
      ? ""
      : `: ${megabytes(progress.currentBytes)} of ${megabytes(progress.totalBytes)} MB`;
  return `Still pulling image "${image}" after ${after}${how}`;
}

/** A time as Go writes it, in whole milliseconds: `850ms`, `1.2s`, `2m3s`, `1h0m0s`. */
export function goDuration(ms: number): string {
  const whole = Math.floor(ms);
  if (whole < 1_000) return whole === 0 ? "0s" : `${whole}ms`;
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor((whole % 3_600_000) / 60_000);
  const seconds = `${(whole % 60_000) / 1_000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
