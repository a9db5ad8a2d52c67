-- The tables of ledger schema 4, as it was released. Never changed: people have ledgers that were made by it.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE spans (start INTEGER PRIMARY KEY, end INTEGER NOT NULL);
CREATE TABLE windows (
    start INTEGER PRIMARY KEY, end INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'provisional')),
    records INTEGER NOT NULL, error TEXT);
CREATE TABLE builds (
    id INTEGER PRIMARY KEY, partition TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('staged',
    'published')),
    generation INTEGER);
CREATE UNIQUE INDEX one_published ON builds (partition) WHERE state = 'published';
CREATE INDEX builds_by_partition ON builds (partition);
CREATE TABLE shards (
    build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE, number INTEGER NOT NULL, path TEXT
    NOT NULL,
    records INTEGER NOT NULL, size_bytes INTEGER NOT NULL, raw_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (build, number)) WITHOUT ROWID;
CREATE INDEX shards_by_path ON shards (path);
CREATE TABLE garbage (path TEXT PRIMARY KEY) WITHOUT ROWID;
ALTER TABLE windows ADD COLUMN staged INTEGER;
CREATE INDEX staged_windows ON windows (staged) WHERE staged IS NOT NULL;
CREATE TABLE repairs (partition TEXT PRIMARY KEY, proven TEXT NOT NULL) WITHOUT ROWID;
ALTER TABLE builds ADD COLUMN second_key_shared INTEGER;
PRAGMA user_version = 4;
