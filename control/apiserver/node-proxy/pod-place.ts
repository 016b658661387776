import { ApiError, badRequest } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import type { Engine } from "../engine.ts";
import { isRecord } from "../handlers/incoming.ts";
import { current, existing } from "../handlers/read.ts";
import { type KubeletClient, type NodeAddress, nodeAddress } from "./kubelet-client.ts";

/** A pod and the node it runs on. */
export interface PodPlace {
  readonly pod: StoredObject;
  readonly address: NodeAddress;
}

/** @throws {ApiError} 404 for no such pod, 400 for one without a node, 500 for a node that is gone. */
export async function podPlace(
  engine: Engine,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<PodPlace> {
  const pod = (await existing(engine, engine.registry.require("", "pods"), namespace, name, signal)).object;
  const nodeName = isRecord(pod["spec"]) ? pod["spec"]["nodeName"] : undefined;
  if (typeof nodeName !== "string" || nodeName === "")
    throw badRequest(`pod ${name} does not have a host assigned`);
  const node = await current(engine, engine.registry.require("", "nodes"), "", nodeName, signal);
  if (node === undefined)
    throw new ApiError(
      500,
      "InternalError",
      `Internal error occurred: node "${nodeName}" of pod "${name}" is not there`,
    );
  return { pod, address: nodeAddress(node.object) };
}

/** @throws {ApiError} 503 when this server was started without the means to reach nodes. */
export function kubeletOf(engine: Engine): KubeletClient {
  const { kubelet } = engine.ports;
  if (kubelet === undefined)
    throw new ApiError(503, "ServiceUnavailable", "this API server has no certificate to reach nodes with");
  return kubelet;
}
