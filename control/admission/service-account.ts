import type { PodSpec, ServiceAccount } from "#api/generated/kubernetes.ts";
import type { AdmissionRequest } from "../model.ts";
import { mountAccount } from "./plan/service-account-volume.ts";
import { randomSuffix } from "./plan/random-suffix.ts";
import { asPod, isMirror } from "./plan/typed.ts";
import { type AdmissionPorts, type PluginFactory, pluginFor, refuse } from "./plugin.ts";

/** A new namespace gets its default account a moment later: so many looks, so far apart. */
const defaultLooks = 10;
const betweenLooksMs = 100;

/**
 * Every Pod runs as a ServiceAccount that exists: `default` unless it says otherwise. It gets the account's
 * token as a volume and its image pull secrets. Mirror Pods are nobody's.
 */
export const serviceAccount: PluginFactory = (ports) =>
  pluginFor(
    "ServiceAccount",
    { operations: ["CREATE"], resource: "pods" },
    async (request, object, signal) => {
      const pod = asPod(object);
      if (isMirror(object)) {
        if ((pod.spec.serviceAccountName ?? "") !== "")
          throw refuse(request, "a mirror pod may not reference service accounts");
        return object;
      }
      const given = pod.spec.serviceAccountName ?? "";
      const name = given === "" ? "default" : given;
      const account = await findAccount(name, request, ports, signal);
      return { ...object, spec: withAccount(pod.spec, name, account, ports.random) };
    },
  );

function withAccount(spec: PodSpec, name: string, account: ServiceAccount, random: () => number): PodSpec {
  const wantsToken = spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
  const named: PodSpec = { ...spec, serviceAccountName: name, serviceAccount: name };
  const mounted = wantsToken ? mountAccount(named, randomSuffix(5, random)) : named;
  const secrets = account.imagePullSecrets ?? [];
  const hasOwn = (spec.imagePullSecrets ?? []).length > 0;
  return hasOwn || secrets.length === 0 ? mounted : { ...mounted, imagePullSecrets: secrets };
}

async function findAccount(
  name: string,
  request: AdmissionRequest,
  ports: AdmissionPorts,
  signal: AbortSignal,
): Promise<ServiceAccount> {
  const looks = name === "default" ? defaultLooks : 1;
  for (let look = 1; look <= looks; look += 1) {
    const account = await ports.serviceAccount(request.namespace, name, signal);
    if (account !== undefined) return account;
    if (look < looks) await ports.clock.sleep(betweenLooksMs, signal);
  }
  throw refuse(
    request,
    `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`,
  );
}
