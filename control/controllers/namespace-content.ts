import type { Namespace } from "#api/generated/kubernetes.ts";
import { configMaps, namespaces, serviceAccounts } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";

/** The ConfigMap by which pods know whom to trust. */
const rootCaName = "kube-root-ca.crt";

/** Keeps ServiceAccount `default` in every namespace. */
export function serviceAccountController(ports: ControllerPorts): Controller {
  const table = ports.tables.of(serviceAccounts);
  return inEveryNamespace("serviceaccount", ports, "default", table, async (namespace, signal) => {
    if (table.get(`${namespace}/default`) !== undefined) return;
    const object = { metadata: { name: "default", namespace } };
    table.wrote(await ports.client.create(serviceAccounts, object, {}, signal));
  });
}

/** Keeps ConfigMap `kube-root-ca.crt` with the cluster's CA in every namespace. */
export function rootCaController(ports: ControllerPorts): Controller {
  const table = ports.tables.of(configMaps);
  const data = { "ca.crt": ports.config.rootCaPem };
  const annotations = {
    "kubernetes.io/description": "The certificates by which pods verify the API server of this cluster.",
  };
  return inEveryNamespace(
    "root-ca-certificate-publisher",
    ports,
    rootCaName,
    table,
    async (namespace, signal) => {
      const key = { namespace, name: rootCaName };
      const known = table.get(`${namespace}/${rootCaName}`);
      if (known === undefined) {
        const object = { metadata: { ...key, annotations }, data };
        table.wrote(await ports.client.create(configMaps, object, {}, signal));
      } else if (JSON.stringify(known.data) !== JSON.stringify(data) || known.binaryData !== undefined) {
        const next = { metadata: { ...known.metadata, annotations }, data };
        table.wrote(await ports.client.update(configMaps, next, {}, signal));
      }
    },
  );
}

/** One key a namespace; marked when the namespace or the object of this name in it changes. */
function inEveryNamespace(
  name: string,
  ports: ControllerPorts,
  objectName: string,
  objects: { subscribe(changed: (key: string) => void): () => void },
  keep: (namespace: string, signal: AbortSignal) => Promise<void>,
): Controller {
  const table = ports.tables.of(namespaces);
  const queue = controllerQueue(ports.clock);
  table.subscribe((key) => queue.add(key));
  objects.subscribe((key) => {
    if (key.endsWith(`/${objectName}`)) queue.add(key.slice(0, -objectName.length - 1));
  });
  return {
    name,
    queue,
    workers: 2,
    step: async (key, signal) => {
      const namespace = table.get(key);
      if (namespace === undefined || isTerminating(namespace)) return;
      try {
        await keep(key, signal);
      } catch (cause) {
        if (!isReason(cause, "AlreadyExists", "NotFound") && !isEnding(cause)) throw cause;
      }
    },
  };
}

function isTerminating(namespace: Namespace): boolean {
  return namespace.metadata?.deletionTimestamp !== undefined || namespace.status?.phase === "Terminating";
}

function isEnding(cause: unknown): boolean {
  return (
    isReason(cause, "Forbidden") &&
    (cause.status.details?.causes?.some(({ reason }) => reason === "NamespaceTerminating") ?? false)
  );
}
