import type { Column } from "../../../model.ts";
import { ageColumn, nameColumn } from "./cells.ts";

/** The columns `kubectl get` shows for a kind; name and age where a kind has none of its own. */
export function columnsOf(_kind: string): readonly Column[] {
  return [nameColumn, ageColumn];
}
