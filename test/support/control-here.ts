import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { flags } from "../../control/config.ts";
import { runControl } from "../../control/main.ts";

/** A control plane in this process. */
export interface ControlHere {
  /** Who a kubeconfig is for: the administrator, or the node `node-a`. The caller closes it. */
  readonly client: (name: "admin" | "node") => ApiClient;
  /** Resolves when it has ended. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts a control plane in this process's network namespace, on loopback, with everything below `folder`. Started
 * anew on the same folder it goes on with what was there.
 */
export async function controlHere(folder: string): Promise<ControlHere> {
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const running = runControl(
    parseFlags("control", flags, [
      `--data-dir=${folder}/data`,
      `--config-dir=${folder}/config`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      "--node-name=node-a",
      "--disable-dns",
      "--scheduler-port=0",
      "--controllers-port=0",
    ]),
    { log: noLog, clock: systemClock, ready: ready.resolve },
    stop.signal,
  );
  running.catch(ready.reject);
  await ready.promise;
  return {
    client: (name) => new ApiClient(new HttpTransport(loadKubeconfig(`${folder}/config/${name}.kubeconfig`))),
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}
