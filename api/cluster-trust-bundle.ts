import type { ObjectMeta } from "./generated/kubernetes.ts";
import type { Resource } from "./meta.ts";

/** Certificates of authorities that Pods may trust: X.509 in PEM (KEP-3257). Beta, so not among the generated types. */
export interface ClusterTrustBundle {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
  readonly spec?: { readonly signerName?: string; readonly trustBundle?: string };
}

export const clusterTrustBundles: Resource<ClusterTrustBundle> = {
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "clustertrustbundles",
  kind: "ClusterTrustBundle",
  namespaced: false,
};
