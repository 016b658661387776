import type { NamespaceCondition } from "#api/generated/kubernetes.ts";
import { isoTime } from "./times.ts";

/** What a pass over a terminating namespace found. */
export interface ContentReport {
  readonly discoveryFailure?: string;
  readonly deletionFailure?: string;
  /** Objects left by resource, `pods` or `deployments.apps`. */
  readonly remaining: ReadonlyMap<string, number>;
  /** Finalizers of those objects, with how many have each. */
  readonly finalizers: ReadonlyMap<string, number>;
}

/** The five conditions that tell a user why a namespace is still there; published on every pass. */
export function namespaceConditions(
  before: readonly NamespaceCondition[],
  report: ContentReport,
  nowMs: number,
): readonly NamespaceCondition[] {
  const { discoveryFailure, deletionFailure } = report;
  const remaining = listed(report.remaining, "has", "resource instances");
  const finalizers = listed(report.finalizers, "in", "resource instances");
  const rows: readonly (readonly [string, boolean, string, string])[] = [
    discoveryFailure === undefined
      ? [
          "NamespaceDeletionDiscoveryFailure",
          false,
          "ResourcesDiscovered",
          "All resources successfully discovered",
        ]
      : ["NamespaceDeletionDiscoveryFailure", true, "DiscoveryFailed", discoveryFailure],
    [
      "NamespaceDeletionGroupVersionParsingFailure",
      false,
      "ParsedGroupVersions",
      "All legacy kube types successfully parsed",
    ],
    deletionFailure === undefined
      ? [
          "NamespaceDeletionContentFailure",
          false,
          "ContentDeleted",
          "All content successfully deleted, may be waiting on finalization",
        ]
      : ["NamespaceDeletionContentFailure", true, "ContentDeletionFailed", deletionFailure],
    remaining === ""
      ? ["NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed"]
      : [
          "NamespaceContentRemaining",
          true,
          "SomeResourcesRemain",
          `Some resources are remaining: ${remaining}`,
        ],
    finalizers === ""
      ? [
          "NamespaceFinalizersRemaining",
          false,
          "ContentHasNoFinalizers",
          "All content-preserving finalizers finished",
        ]
      : [
          "NamespaceFinalizersRemaining",
          true,
          "SomeFinalizersRemain",
          `Some content in the namespace has finalizers remaining: ${finalizers}`,
        ],
  ];
  const ours = rows.map(([type, holds, reason, message]) => {
    const status = holds ? "True" : "False";
    const old = before.find((condition) => condition.type === type);
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? "") : isoTime(nowMs);
    return { type, status, reason, message, lastTransitionTime };
  });
  return [...before.filter(({ type }) => !ours.some((condition) => condition.type === type)), ...ours];
}

function listed(counts: ReadonlyMap<string, number>, verb: string, what: string): string {
  return [...counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${verb} ${count} ${what}`)
    .map((text) => (verb === "has" ? text.replace(" has ", ". has ") : text))
    .join(", ");
}
