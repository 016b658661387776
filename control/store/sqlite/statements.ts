import type { DatabaseSync } from "node:sqlite";
import type { Change, Entry } from "../store.ts";

/** The store's queries, prepared once. Revisions stay below 2^53, so SQLite's integers are read as numbers. */
export interface Statements {
  get(key: string): Entry | undefined;
  put(entry: Entry): void;
  remove(key: string): void;
  log(
    revision: bigint,
    key: string,
    deleted: boolean,
    createRevision: bigint,
    before: Entry | undefined,
  ): void;
  /** @param limit -1 for all. */
  range(from: string, to: string, limit: number): Entry[];
  rangeAt(from: string, to: string, revision: bigint, limit: number): Entry[];
  count(from: string, to: string): number;
  countAt(from: string, to: string, revision: bigint): number;
  /** Changes after `from` up to and including `to`, oldest first. */
  history(from: bigint, to: bigint, limit: number): Change[];
  forget(revision: bigint): void;
  meta(name: "revision" | "compacted"): bigint;
  setMeta(name: "revision" | "compacted", value: bigint): void;
}

type Row = Readonly<Record<string, unknown>>;

const asOf = `
  SELECT key, value, create_revision, mod_revision FROM current
    WHERE key >= :from AND key < :to AND mod_revision <= :revision
  UNION ALL
  SELECT key, before_value, before_create, before_mod FROM log
    WHERE key >= :from AND key < :to AND revision > :revision AND before_mod > 0 AND before_mod <= :revision`;

/** @throws when the file has another shape than `schema.ts` says. */
export function prepare(database: DatabaseSync): Statements {
  const sql = (text: string) => database.prepare(text);
  const get = sql("SELECT key, value, create_revision, mod_revision FROM current WHERE key = ?");
  const put = sql("INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?)");
  const remove = sql("DELETE FROM current WHERE key = ?");
  const log = sql("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)");
  const range = sql(
    "SELECT key, value, create_revision, mod_revision FROM current WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
  );
  const rangeAt = sql(`${asOf} ORDER BY key LIMIT :limit`);
  const count = sql("SELECT count(*) AS n FROM current WHERE key >= ? AND key < ?");
  const countAt = sql(`SELECT count(*) AS n FROM (${asOf})`);
  const history = sql(`
    SELECT l.revision, l.key, l.deleted, l.create_revision, l.before_value, l.before_create, l.before_mod,
      coalesce(
        (SELECT n.before_value FROM log n WHERE n.key = l.key AND n.revision > l.revision ORDER BY n.revision LIMIT 1),
        (SELECT c.value FROM current c WHERE c.key = l.key)) AS value
    FROM log l WHERE l.revision > ? AND l.revision <= ? ORDER BY l.revision LIMIT ?`);
  const forget = sql("DELETE FROM log WHERE revision <= ?");
  const meta = sql("SELECT value FROM meta WHERE name = ?");
  const setMeta = sql("UPDATE meta SET value = ? WHERE name = ?");
  return {
    get: (key) => {
      const row = get.get(key);
      return row === undefined ? undefined : entryOf(row);
    },
    put: (entry) => void put.run(entry.key, entry.value, entry.createRevision, entry.modRevision),
    remove: (key) => void remove.run(key),
    log: (revision, key, deleted, createRevision, before) =>
      void log.run(
        revision,
        key,
        deleted ? 1 : 0,
        createRevision,
        before?.value ?? null,
        before?.createRevision ?? 0n,
        before?.modRevision ?? 0n,
      ),
    range: (from, to, limit) => range.all(from, to, limit).map(entryOf),
    rangeAt: (from, to, revision, limit) => rangeAt.all({ from, to, revision, limit }).map(entryOf),
    count: (from, to) => Number(count.get(from, to)?.["n"]),
    countAt: (from, to, revision) => Number(countAt.get({ from, to, revision })?.["n"]),
    history: (from, to, limit) => history.all(from, to, limit).map(changeOf),
    forget: (revision) => void forget.run(revision),
    meta: (name) => BigInt(Number(meta.get(name)?.["value"] ?? 0)),
    setMeta: (name, value) => void setMeta.run(value, name),
  };
}

function entryOf(row: Row): Entry {
  return {
    key: String(row["key"]),
    value: bytes(row["value"]),
    createRevision: BigInt(Number(row["create_revision"])),
    modRevision: BigInt(Number(row["mod_revision"])),
  };
}

function changeOf(row: Row): Change {
  const key = String(row["key"]);
  const revision = BigInt(Number(row["revision"]));
  const beforeMod = BigInt(Number(row["before_mod"]));
  const before: Entry | undefined =
    beforeMod === 0n
      ? undefined
      : {
          key,
          value: bytes(row["before_value"]),
          createRevision: BigInt(Number(row["before_create"])),
          modRevision: beforeMod,
        };
  if (row["deleted"] === 1 && before !== undefined) return { type: "delete", key, revision, before };
  const createRevision = BigInt(Number(row["create_revision"]));
  return {
    type: "put",
    entry: { key, value: bytes(row["value"]), createRevision, modRevision: revision },
    before,
  };
}

function bytes(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array();
}
