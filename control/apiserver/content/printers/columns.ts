import type { Column } from "../../../model.ts";
import { ageColumn, nameColumn } from "./cells.ts";
import { clusterColumns } from "./cluster-columns.ts";
import { networkColumns } from "./network-columns.ts";
import { podColumns } from "./pod-columns.ts";
import { storageColumns } from "./storage-columns.ts";
import { workloadColumns } from "./workload-columns.ts";

const byKind: Readonly<Record<string, readonly Column[]>> = {
  Pod: podColumns,
  ...clusterColumns,
  ...networkColumns,
  ...storageColumns,
  ...workloadColumns,
};

/** The columns `kubectl get` shows for a kind; name and age where a kind has none of its own. */
export function columnsOf(kind: string): readonly Column[] {
  return byKind[kind] ?? [nameColumn, ageColumn];
}
