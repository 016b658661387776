import type { Clock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { PullRecords, type RecordPorts, type RecordStore } from "./pull-records.ts";

/** Records of pulls that are kept in memory: the files by folder and name, and records on them. */
export async function memoryRecords(
  clock: Clock,
  more: Partial<RecordPorts> = {},
): Promise<{
  readonly records: PullRecords;
  readonly files: Map<string, string>;
  readonly store: RecordStore;
}> {
  const files = new Map<string, string>();
  const store: RecordStore = {
    list: async (folder) =>
      new Map(
        [...files].flatMap(([name, text]) =>
          name.startsWith(`${folder}/`) ? [[name.slice(folder.length + 1), text] as const] : [],
        ),
      ),
    write: async (folder, name, text) => void files.set(`${folder}/${name}`, text),
    remove: async (folder, name) => void files.delete(`${folder}/${name}`),
  };
  const records = await PullRecords.open({
    store,
    clock,
    log: noLog,
    policy: "NeverVerifyPreloadedImages",
    allowlist: [],
    ...more,
  });
  return { records, files, store };
}
