import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { reconcile } from "#lib/reconcile.ts";
import { type Task, together } from "#lib/together.ts";
import type { Controller, ControllerPorts, ControllersPorts } from "./controller.ts";
import { cronJobController } from "./cron-job.ts";
import { daemonSetController } from "./daemon-set.ts";
import { deploymentController } from "./deployment.ts";
import { endpointSliceController, endpointsController } from "./endpoints.ts";
import { garbageCollector } from "./garbage-collector.ts";
import { jobController } from "./job.ts";
import { namespaceController } from "./namespace.ts";
import { rootCaController, serviceAccountController } from "./namespace-content.ts";
import { nodeIpamController } from "./node-ipam.ts";
import { nodeLifecycleController } from "./node-lifecycle.ts";
import { podGcController } from "./pod-gc.ts";
import { replicaSetController, replicationControllerController } from "./replicas.ts";
import { statefulSetController } from "./stateful-set.ts";
import { Tables } from "./tables.ts";
import { taintEvictionController } from "./taint-eviction.ts";

/** Every controller, by what makes it, and the name it has in events. */
const makers: readonly (readonly [make: (ports: ControllerPorts) => Controller, component: string])[] = [
  [serviceAccountController, "serviceaccount-controller"],
  [rootCaController, "root-ca-cert-publisher"],
  [nodeIpamController, "cidrAllocator"],
  [nodeLifecycleController, "node-controller"],
  [taintEvictionController, "taint-eviction-controller"],
  [replicaSetController, "replicaset-controller"],
  [replicationControllerController, "replication-controller"],
  [deploymentController, "deployment-controller"],
  [daemonSetController, "daemonset-controller"],
  [statefulSetController, "statefulset-controller"],
  [jobController, "job-controller"],
  [cronJobController, "cronjob-controller"],
  [endpointSliceController, "endpoint-slice-controller"],
  [endpointsController, "endpoint-controller"],
  [namespaceController, "namespace-controller"],
  [podGcController, "pod-garbage-collector"],
  [garbageCollector, "garbage-collector-controller"],
];

/** How a controller is doing. */
export interface ControllerHealth {
  readonly name: string;
  /** Keys that wait to be worked on. */
  readonly waiting: number;
  /** Keys whose last step failed, with why. */
  readonly failing: readonly { readonly key: string; readonly failures: number; readonly why: string }[];
}

/** The controllers of one process. */
export interface Controllers {
  run(signal: AbortSignal): Promise<void>;
  health(): { readonly listing: readonly string[]; readonly controllers: readonly ControllerHealth[] };
}

/** Runs every controller until the signal is aborted. */
export function runControllers(ports: ControllersPorts, signal: AbortSignal): Promise<void> {
  return controllers(ports).run(signal);
}

/** The controllers, ready to run. */
export function controllers(ports: ControllersPorts): Controllers {
  const tables = ports.tables ?? new Tables(ports);
  const all = makers.map(([make, component]) =>
    make({ ...ports, tables, events: ports.recorderFor?.(component) ?? ports.events }),
  );
  return {
    health: () => ({ listing: tables.listing, controllers: all.map(healthOf) }),
    run: async (signal) => {
      await together(
        signal,
        ...(ports.tables === undefined ? [(stop: AbortSignal) => tables.run(stop)] : []),
        async (stop) => {
          try {
            // A picture that is not complete may not delete, and not create either.
            await tables.synced(stop);
          } catch (cause) {
            if (stop.aborted) return;
            throw cause;
          }
          await together(stop, ...all.flatMap((controller) => workersOf(controller, ports)));
        },
      );
      for (const { queue } of all) queue.close();
    },
  };
}

function workersOf(controller: Controller, ports: ControllersPorts): readonly Task[] {
  const { name, queue, step, workers } = controller;
  const log = ports.log.child({ controller: name });
  const failed = (key: string, cause: unknown): void => {
    // A conflict means that somebody else wrote first: the next try reads what they wrote.
    const level = isReason(cause, "Conflict") ? "debug" : "warn";
    log[level]("step failed", { key, cause: errorText(cause) });
  };
  return Array.from({ length: workers }, () => (stop: AbortSignal) => reconcile(queue, step, failed, stop));
}

function healthOf({ name, queue }: Controller): ControllerHealth {
  const failing = [...queue.failing].map(([key, { count, cause }]) => ({
    key,
    failures: count,
    why: errorText(cause),
  }));
  return { name, waiting: queue.length, failing };
}
