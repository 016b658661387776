import type { Node } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import type { AgentContext } from "../agent-context.ts";
import type { PodEntry } from "../pod-entry.ts";
import type { PodTable } from "../pod-table.ts";
import { deleteMirror, ensureMirror } from "./mirror-pods.ts";
import { reportStatus } from "./report-status.ts";

/** What reporting reads besides the context. */
export interface ReportPorts {
  readonly table: PodTable;
  readonly isComplete: () => boolean;
  /** The API's Pods are known: whether a mirror is there can be told. */
  readonly apiComplete: () => boolean;
  readonly node: () => Node | undefined;
  readonly again: (uid: string) => void;
}

const mirrorPrefix = "mirror/";

/** The key under which a mirror is looked after, beside the uids of Pods. */
export function mirrorKey(podKey: string): string {
  return `${mirrorPrefix}${podKey}`;
}

/** One step of the reporter: a Pod by its uid, or a mirror by {@link mirrorKey}. */
export async function reportStep(
  context: AgentContext,
  key: string,
  ports: ReportPorts,
  signal: AbortSignal,
): Promise<void> {
  if (context.client === undefined) return;
  if (key.startsWith(mirrorPrefix)) {
    await checkMirror(context, key.slice(mirrorPrefix.length), ports, signal);
    return;
  }
  const entry = ports.table.entries.get(key);
  if (entry === undefined || entry.source === "orphan" || (entry.gone && entry.source === "api")) return;
  if (entry.source === "api") await reportStatus(context, entry, entry.pod, signal);
  else if (ports.apiComplete()) await reportStatic(context, entry, ports, signal);
}

async function reportStatic(
  context: AgentContext,
  entry: PodEntry,
  { table, node }: ReportPorts,
  signal: AbortSignal,
): Promise<void> {
  const key = keyText(keyOf(entry.pod));
  const known = table.mirrors.get(key);
  const mirror = entry.gone ? known : await ensureMirror(context, entry, known, node(), signal);
  if (mirror === undefined) return;
  if (known === undefined) {
    entry.reported = mirror.status ?? {};
    table.mirrors.set(key, mirror);
  } else entry.reported ??= mirror.status;
  await reportStatus(context, entry, mirror, signal);
}

/** A mirror changed: its static Pod reports to it, or it goes when there is none. */
async function checkMirror(
  context: AgentContext,
  key: string,
  { table, isComplete, again }: ReportPorts,
  signal: AbortSignal,
): Promise<void> {
  const entry = table.staticByKey(key);
  const mirror = table.mirrors.get(key);
  if (entry !== undefined) {
    if (mirror === undefined) entry.reported = undefined;
    again(entry.uid);
    return;
  }
  const ending = [...table.entries.values()].some(
    ({ source, pod }) => source === "file" && keyText(keyOf(pod)) === key,
  );
  if (mirror !== undefined && !ending && isComplete()) await deleteMirror(context, mirror, signal);
}
