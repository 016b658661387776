/** Labels of Kubernetes' own name spaces that a node may give itself. */
const ownLabels = new Set([
  "kubernetes.io/hostname",
  "kubernetes.io/os",
  "kubernetes.io/arch",
  "beta.kubernetes.io/os",
  "beta.kubernetes.io/arch",
  "beta.kubernetes.io/instance-type",
  "failure-domain.beta.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "topology.kubernetes.io/region",
  "topology.kubernetes.io/zone",
]);
const ownSpaces = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/**
 * The labels that a node changed and may not: those of kubernetes.io and k8s.io that place work on nodes.
 * @returns their keys, sorted.
 */
export function forbiddenLabels(
  now: Readonly<Record<string, string>>,
  before: Readonly<Record<string, string>>,
): readonly string[] {
  const changed = [...Object.keys(now), ...Object.keys(before)].filter((key) => now[key] !== before[key]);
  return [...new Set(changed)].filter((key) => !mayChange(key)).sort();
}

function mayChange(key: string): boolean {
  const space = key.includes("/") ? key.slice(0, key.indexOf("/")) : "";
  const within = (domain: string): boolean => space === domain || space.endsWith(`.${domain}`);
  if (!within("kubernetes.io") && !within("k8s.io")) return true;
  return ownLabels.has(key) || ownSpaces.some(within);
}
