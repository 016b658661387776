import type { Pod } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../../model.ts";
import { containerRecords } from "../container-records.ts";
import { containersOf } from "../containers-of.ts";
import { restartAtMs } from "../crash-backoff.ts";
import { mustStop, type PodPlan } from "../pod-actions.ts";
import { spanWords } from "./words.ts";

/** A wait between two tries that a user may cut short. */
export interface BackOff {
  readonly of: "crash" | "image" | "start";
  readonly container: string;
  /** Of the run that ended; "" for the other kinds. */
  readonly containerId: string;
  readonly untilMs: number;
}

/** What can be cut short, or why nothing can, in words for who asked. */
export type BackOffsFound =
  | { readonly found: true; readonly backOffs: readonly BackOff[] }
  | { readonly found: false; readonly message: string };

/**
 * The back-offs that run in a Pod.
 * @param container only of this one; undefined for every one.
 */
export function backOffs(
  pod: Pod,
  runtime: PodRuntime,
  memory: PodMemory,
  plan: PodPlan,
  container: string | undefined,
  nowMs: number,
): BackOffsFound {
  const { namespace, name } = pod.metadata ?? {};
  const refuse = (why: string): BackOffsFound => ({
    found: false,
    message: `nothing to cut short in Pod "${namespace}/${name}": ${why}`,
  });
  if (mustStop(pod, memory)) return refuse("it is on its way out, or has ended");
  const names = containersOf(pod).map((spec) => spec.container.name);
  if (container !== undefined && !names.includes(container))
    return refuse(`it has no container "${container}", only ${quoted(names)}`);
  const records = containerRecords(runtime.containers);
  const found = names
    .filter((one) => one === (container ?? one))
    .flatMap((one): readonly BackOff[] => {
      const crashed = plan.backingOff.has(one) ? records.get(one)?.newest : undefined;
      const failure = memory.startFailures.get(one);
      const image = memory.images.get(one);
      const all: readonly (BackOff | undefined)[] = [
        crashed && { of: "crash", container: one, containerId: crashed.id, untilMs: restartAtMs(crashed) },
        failure && { of: "start", container: one, containerId: "", untilMs: failure.retryAtMs },
        image?.state === "failed"
          ? { of: "image", container: one, containerId: "", untilMs: image.retryAtMs }
          : undefined,
      ];
      return all.filter((backOff) => backOff !== undefined).filter(({ untilMs }) => untilMs > nowMs);
    });
  if (found.length > 0) return { found: true, backOffs: found };
  return refuse(
    `no back-off runs in ${container === undefined ? "any of its containers" : quoted([container])}`,
  );
}

/** What was cut short and by how much, for the event and for who asked. */
export function cutWords({ of, container, untilMs }: BackOff, nowMs: number): string {
  const what = {
    crash: "Back-off restarting",
    image: "Back-off pulling the image of",
    start: "Back-off starting",
  }[of];
  return `${what} container ${container} was cut short by ${spanWords(untilMs - nowMs)}, as the node's administrator asked`;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
