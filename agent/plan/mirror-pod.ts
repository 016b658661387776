import type { Pod } from "#api/generated/kubernetes.ts";
import { annotation } from "./names.ts";

/** The API's image of a static Pod. @param node its owner, when the Node object is known. */
export function mirrorPod(pod: Pod, node: { readonly name: string; readonly uid: string } | undefined): Pod {
  const { uid: _uid, ...metadata } = pod.metadata ?? {};
  return {
    metadata: {
      ...metadata,
      annotations: {
        ...metadata.annotations,
        [annotation.mirror]: metadata.annotations?.[annotation.sourceHash] ?? "",
      },
      ...(node === undefined
        ? {}
        : {
            ownerReferences: [
              { apiVersion: "v1", kind: "Node", name: node.name, uid: node.uid, controller: true },
            ],
          }),
    },
    ...(pod.spec === undefined ? {} : { spec: pod.spec }),
  };
}

/** True for a Pod in the API that only shows a static Pod. */
export function isMirror(pod: Pod): boolean {
  return pod.metadata?.annotations?.[annotation.mirror] !== undefined;
}
