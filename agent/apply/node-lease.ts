import type { ApiClient } from "#api/client.ts";
import type { Lease, Node } from "#api/generated/kubernetes.ts";
import { leases } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";

const key = { namespace: "kube-node-lease" } as const;

/** Renews the node's heartbeat; makes it when it is not there. @returns the lease as the API has it now. */
export async function renewNodeLease(
  client: ApiClient,
  nodeName: string,
  node: Node | undefined,
  before: Lease | undefined,
  nowMs: number,
  signal: AbortSignal,
): Promise<Lease> {
  const spec = {
    holderIdentity: nodeName,
    leaseDurationSeconds: 40,
    renewTime: new Date(nowMs).toISOString().replace("Z", "000Z"),
  };
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(10_000)]);
  const uid = node?.metadata?.uid;
  const owner =
    uid === undefined ? {} : { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: nodeName, uid }] };
  const found =
    before ??
    (await client.get(leases, { ...key, name: nodeName }, deadline).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    }));
  if (found === undefined) {
    return client.create(leases, { metadata: { ...key, name: nodeName, ...owner }, spec }, {}, deadline);
  }
  return client.update(leases, { ...found, metadata: { ...found.metadata, ...owner }, spec }, {}, deadline);
}
