import type { Pod } from "#api/generated/kubernetes.ts";
import { pods } from "#api/resources.ts";
import type { LiveTable, TableIndex } from "./live-table.ts";
import { controllerOf } from "./plan/owners.ts";
import type { Tables } from "./tables.ts";

/** The pods and the ways the controllers look them up. */
export interface PodIndexes {
  readonly table: LiveTable<Pod>;
  /** By the uid of the managing owner. */
  readonly byController: TableIndex<Pod>;
  /** Pods without a managing owner, by namespace. */
  readonly orphans: TableIndex<Pod>;
  /** By node name; "" holds those that have none yet. */
  readonly byNode: TableIndex<Pod>;
  /** By `namespace/label=value`, for every label. */
  readonly byLabel: TableIndex<Pod>;
}

/** The one set of pod indexes of these tables. */
export function podIndexes(tables: Tables): PodIndexes {
  const table = tables.of(pods);
  return {
    table,
    byController: table.index("by-controller", (pod) => {
      const owner = controllerOf(pod);
      return owner === undefined ? [] : [owner.uid];
    }),
    orphans: table.index("orphans", (pod) =>
      controllerOf(pod) === undefined ? [pod.metadata?.namespace ?? ""] : [],
    ),
    byNode: table.index("by-node", (pod) => [pod.spec?.nodeName ?? ""]),
    byLabel: table.index("by-label", (pod) =>
      Object.entries(pod.metadata?.labels ?? {}).map(([key, value]) =>
        labelKey(pod.metadata?.namespace ?? "", key, value),
      ),
    ),
  };
}

/** Where pods with this label are in {@link PodIndexes.byLabel}. */
export function labelKey(namespace: string, key: string, value: string): string {
  return `${namespace}/${key}=${value}`;
}

/** Pods of a namespace with every pair of `wanted`, which is not empty; reads only the rarest pair's pods. */
export function podsWithLabels(
  indexes: PodIndexes,
  namespace: string,
  wanted: Readonly<Record<string, string>>,
): readonly Pod[] {
  const keys = Object.entries(wanted).map(([key, value]) => labelKey(namespace, key, value));
  const rarest = keys.reduce((best, key) =>
    indexes.byLabel.size(key) < indexes.byLabel.size(best) ? key : best,
  );
  return indexes.byLabel
    .of(rarest)
    .filter((pod) => Object.entries(wanted).every(([key, value]) => pod.metadata?.labels?.[key] === value));
}
