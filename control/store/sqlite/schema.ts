/**
 * The tables. `current` holds what is; `log` holds, for each revision, what stood there before.
 *
 * The new value of a change is not in its own log row: it is the `before` of the key's next row, or the
 * current one. So a write costs one row in each table and no value is written twice, and both history and
 * "as it was at revision R" can be read back: a key's value at R is the `before` of its first change after R.
 */
export const schema: string = `
CREATE TABLE IF NOT EXISTS current (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  create_revision INTEGER NOT NULL,
  mod_revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
  revision INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  deleted INTEGER NOT NULL,
  create_revision INTEGER NOT NULL,
  before_value BLOB,
  before_create INTEGER NOT NULL,
  before_mod INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- etcd's first revision is 1 as well: 0 means "any" to Kubernetes clients.
INSERT OR IGNORE INTO meta VALUES ('revision', 1), ('compacted', 0);
`;
