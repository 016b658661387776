import type { ClusterTrustBundle } from "#api/cluster-trust-bundle.ts";
import type { ClusterTrustBundleProjection } from "#api/generated/kubernetes.ts";
import { matches, requirementsOf } from "#api/selectors.ts";

const block = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;
const lineLength = 64;

/**
 * The certificates of bundles as one PEM text, each once, in an order that does not depend on the bundles': nobody may
 * rely on one (KEP-3257). What stands between the blocks is left out.
 */
export function trustAnchors(bundles: readonly string[]): string {
  const found = bundles.flatMap((text) =>
    [...text.matchAll(block)].map(([, body = ""]) => body.replaceAll(/\s/g, "")),
  );
  return [...new Set(found)]
    .toSorted()
    .map((body) => {
      const lines = body.match(new RegExp(`.{1,${lineLength}}`, "g")) ?? [];
      return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
    })
    .join("");
}

/** The bundles of its signer that a projection selects: none without a label selector, all with an empty one. */
export function selectBundles(
  { labelSelector }: ClusterTrustBundleProjection,
  bundles: Iterable<ClusterTrustBundle>,
): readonly ClusterTrustBundle[] {
  if (labelSelector === undefined) return [];
  const wanted = requirementsOf(labelSelector);
  return [...bundles].filter(({ metadata }) => matches(wanted, metadata?.labels));
}

/** What the kubelet says where a projection finds nothing. */
export function noBundles({ name }: ClusterTrustBundleProjection): string {
  return name === undefined
    ? "combination of signerName and labelSelector matched zero ClusterTrustBundles"
    : `clustertrustbundle.certificates.k8s.io "${name}" not found`;
}
