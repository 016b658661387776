import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { kubernetesVersion } from "#api/version.ts";
import { systemClock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { ownVersion } from "./versions.ts";

/** A client of the API that a kubeconfig names. `part` is who asks, for the server's logs. */
export function clientFor(kubeconfig: string, part: string): ApiClient {
  return new ApiClient(new HttpTransport(loadKubeconfig(kubeconfig)), {
    "user-agent": `keelson-${part}/${ownVersion} (linux/${process.arch}) kubernetes/${kubernetesVersion}`,
  });
}

/**
 * The same, waiting for the file: a control plane on this machine writes it when it starts.
 * @throws when the signal is aborted first.
 */
export async function clientWhenThere(
  kubeconfig: string,
  part: string,
  log: Log,
  signal: AbortSignal,
): Promise<ApiClient> {
  for (let tries = 0; ; tries += 1) {
    try {
      return clientFor(kubeconfig, part);
    } catch (cause) {
      signal.throwIfAborted();
      if (tries === 0) log.info("waiting for the kubeconfig", { kubeconfig, why: errorText(cause) });
      await systemClock.sleep(50, signal);
    }
  }
}
