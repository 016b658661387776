import { errorText } from "#lib/log.ts";
import type { AgentContext } from "../agent-context.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { PodRuntime } from "../model.ts";
import { runtimeFingerprint } from "../plan/runtime-fingerprint.ts";
import type { PodTable } from "../pod-table.ts";
import { removeOrphanCgroups } from "../resources/pod-cgroups.ts";
import { podDirectories } from "../volumes/pod-directories.ts";
import { RelistHealth } from "./relist-health.ts";

/** What a full pass touches besides the context. */
export interface RelistPorts {
  readonly table: PodTable;
  readonly metrics: AgentMetrics;
  /** Every source has told all it has: what nobody named may go. */
  readonly isComplete: () => boolean;
  readonly checkMirror: (key: string) => void;
  /** In [0, 1). */
  readonly random: () => number;
}

const pauseMs = 100;
/** One pass in so many looks at every Pod, whatever the runtime says. */
const thoroughEvery = 5;
/** After a pass that failed. */
const againMs = 5_000;

/** Full passes over what the runtime has: on demand, and slowly all the time. */
export class Relister {
  readonly #context: AgentContext;
  readonly #ports: RelistPorts;
  readonly #health: RelistHealth;
  #wanted = Promise.withResolvers<void>();
  #passes = 0;

  constructor(context: AgentContext, ports: RelistPorts) {
    this.#context = context;
    this.#ports = ports;
    this.#health = new RelistHealth(context.clock);
  }

  /** Why the node cannot be relied on: see {@link RelistHealth}. */
  get trouble(): string | undefined {
    return this.#health.trouble;
  }

  /** Asks for a pass soon; several wishes make one. */
  ask(): void {
    this.#wanted.resolve();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, config, log } = this.#context;
    while (!signal.aborted) {
      this.#wanted = Promise.withResolvers<void>();
      // As the kubelet: up to half as long again, so that a fleet does not move in step.
      let waitMs = config.syncMs * (1 + this.#ports.random() / 2);
      this.#health.begins();
      try {
        await this.#pass(signal);
        this.#health.endsWell();
      } catch (cause) {
        if (signal.aborted) return;
        waitMs = Math.min(waitMs, againMs);
        log.warn("cannot list what the runtime has", { cause: errorText(cause) });
      }
      await Promise.race([this.#wanted.promise, clock.sleep(waitMs, signal).catch(() => undefined)]);
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const { runtime, markDirty, prober, log } = this.#context;
    const { table, metrics, isComplete, checkMirror } = this.#ports;
    const done = metrics.relistSeconds.startTimer();
    const [sandboxes, containers] = await Promise.all([
      runtime.listSandboxes({}, signal),
      runtime.listContainers({}, signal),
    ]);
    // What is as it was is left alone, so that an idle node idles; what else may have gone wrong is looked for seldom.
    const isThorough = this.#passes % thoroughEvery === 0;
    this.#passes += 1;
    const now = byPod(sandboxes, containers);
    for (const [uid, entry] of table.entries) {
      const has = now.get(uid) ?? { sandboxes: [], containers: [] };
      if (isThorough || runtimeFingerprint(has) !== runtimeFingerprint(entry.runtime)) markDirty(uid);
    }
    prober.keepOnly(new Set(containers.map(({ id }) => id)));
    if (isComplete()) {
      for (const { podUid: uid, podName: name, podNamespace: namespace } of [...sandboxes, ...containers]) {
        if (uid === "" || table.entries.has(uid)) continue;
        log.info("stopping a pod that no source knows", { pod: `${namespace}/${name}`, uid });
        table.addOrphan({
          metadata: { name, namespace, uid },
          spec: { containers: [], terminationGracePeriodSeconds: 1 },
        });
      }
      const alive = new Set(sandboxes.map(({ podUid }) => podUid));
      await this.#removeOrphanDirectories(alive, signal);
      await removeOrphanCgroups(this.#context, (uid) => alive.has(uid) || table.entries.has(uid));
      await this.#context.allocations.keepOnly((uid) => alive.has(uid) || table.entries.has(uid));
      for (const key of table.mirrors.keys()) if (table.staticByKey(key) === undefined) checkMirror(key);
    }
    metrics.runningPods.set(sandboxes.filter(({ state }) => state === "ready").length);
    for (const state of ["created", "running", "exited", "unknown"] as const) {
      const count = containers.filter((container) => container.state === state).length;
      metrics.runningContainers.set({ container_state: state }, count);
    }
    const sources = [...table.entries.values()].map(({ source }) => source);
    metrics.desiredPods.set({ static: "true" }, sources.filter((source) => source === "file").length);
    metrics.desiredPods.set({ static: "" }, sources.filter((source) => source === "api").length);
    done();
  }

  async #removeOrphanDirectories(alive: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const { config, log, volumes } = this.#context;
    for (const uid of await podDirectories(config.rootDir)) {
      if (alive.has(uid) || this.#ports.table.entries.has(uid)) continue;
      await volumes
        .remove(uid, signal)
        .catch((cause: unknown) =>
          log.warn("cannot remove an orphaned pod directory", { uid, cause: errorText(cause) }),
        );
    }
  }
}

function byPod(
  sandboxes: PodRuntime["sandboxes"],
  containers: PodRuntime["containers"],
): ReadonlyMap<string, PodRuntime> {
  const ofSandbox = Map.groupBy(sandboxes, ({ podUid }) => podUid);
  const ofContainer = Map.groupBy(containers, ({ podUid }) => podUid);
  const uids = new Set([...ofSandbox.keys(), ...ofContainer.keys()]);
  return new Map(
    [...uids].map((uid) => [
      uid,
      { sandboxes: ofSandbox.get(uid) ?? [], containers: ofContainer.get(uid) ?? [] },
    ]),
  );
}
