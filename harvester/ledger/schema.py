"""The ledger's tables, step by step: a new ledger takes every step, an older one those that it lacks.

A step, once released, never changes: somebody's ledger was made by it. A change of the tables is a step more
at the end of STEPS, and the number of steps is the version, kept in the file's `user_version`. Each step is
one transaction that also writes the version, so a kill leaves the ledger before a step or behind it.

Readers write nothing: they take the steps in a copy of their own (see database.py).
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

STEPS: Final = (
    # 1: windows, builds and their shards.
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE spans (start INTEGER PRIMARY KEY, end INTEGER NOT NULL);
    CREATE TABLE windows (
        start INTEGER PRIMARY KEY, end INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'provisional')),
        records INTEGER NOT NULL, error TEXT);
    CREATE TABLE builds (
        id INTEGER PRIMARY KEY, partition TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('staged', 'published')), generation INTEGER);
    CREATE UNIQUE INDEX one_published ON builds (partition) WHERE state = 'published';
    CREATE INDEX builds_by_partition ON builds (partition);
    CREATE TABLE shards (
        build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        path TEXT NOT NULL, records INTEGER NOT NULL, size_bytes INTEGER NOT NULL, raw_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (build, number)) WITHOUT ROWID;
    CREATE INDEX shards_by_path ON shards (path);
    CREATE TABLE garbage (path TEXT PRIMARY KEY) WITHOUT ROWID
    """,
    # 2: the staged build that holds a window's records until they are published, so that a manifest need not
    #    call proven what its readers would not find.
    """
    ALTER TABLE windows ADD COLUMN staged INTEGER;
    CREATE INDEX staged_windows ON windows (staged) WHERE staged IS NOT NULL
    """,
    # 3: partitions whose files are damaged: their generation stands, for readers, until one replaces it that
    #    covers the stretches (`proven`, JSON) that this one covered.
    """
    CREATE TABLE repairs (partition TEXT PRIMARY KEY, proven TEXT NOT NULL) WITHOUT ROWID
    """,
    # 4: how many records of a build share their second key with another one; null where nobody counted.
    """
    ALTER TABLE builds ADD COLUMN second_key_shared INTEGER
    """,
    # 5: the sealed lines that a published table was made of, while they are kept.
    """
    ALTER TABLE shards ADD COLUMN lines_path TEXT;
    ALTER TABLE shards ADD COLUMN lines_size_bytes INTEGER;
    ALTER TABLE shards ADD COLUMN lines_sha256 TEXT;
    CREATE INDEX shards_by_lines ON shards (lines_path) WHERE lines_path IS NOT NULL
    """,
)
SCHEMA_VERSION: Final = len(STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """0 for a file in which no ledger was begun."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def upgrade(db: sqlite3.Connection) -> None:
    """Takes the steps that the ledger lacks. For a connection that begins no transactions by itself."""
    for number, step in enumerate(STEPS, start=1):
        if version_of(db) >= number:
            continue
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(step):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _statements(step: str) -> Iterator[str]:
    return (statement for statement in step.split(";") if statement.strip())
