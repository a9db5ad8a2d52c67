"""The ledger: which windows are proven, which shards hold them, and who may write.

A window that has no row is OPEN: it was never asked for, or what it brought was not sealed. Every change of
state is one transaction that comes after the data it speaks of is durable, so a kill at any point leaves a
ledger that is true.

A partition's shards belong to a build. A build is STAGED while it grows; publishing it, in one transaction,
makes it the partition's generation and drops every older build. Files that no build names any more wait in
`garbage` until a manifest that does not name them stands; then they are removed, and only they.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from harvester.errors import OtherJob, StorageError
from harvester.ledger.file import LedgerFile
from harvester.ledger.states import TRANSITIONS, Build, Counts, Gap, Settled, State, from_us, to_us
from harvester.shards import Receipt
from harvester.windows import Partition, Span, merge, subtract

NOT_OVER: Final = "provisional: asked for before it was over; run again afterwards"
NOT_PUBLISHED: Final = "sealed and not yet published; run again to go on"
_OVERLAP: Final = (
    "start >= coalesce((SELECT start FROM windows WHERE start <= ? ORDER BY start DESC LIMIT 1), ?) "
    "AND start < ? AND end > ?"
)
"""Windows that overlap a range, with the values of `_overlap`. No two rows overlap, so but for those that
begin inside only the last one before can: without the first line each question would go through all windows
of the ledger, and a run would cost the square of its windows.
"""
_INSERT_WINDOW: Final = (
    "INSERT INTO windows (start, end, state, records, error, staged) VALUES (?, ?, ?, ?, ?, ?)"
)
_KEEP_WHAT_IS_NAMED: Final = (
    "DELETE FROM garbage WHERE path IN (SELECT path FROM shards UNION ALL "
    "SELECT lines_path FROM shards WHERE lines_path IS NOT NULL)"
)


class Ledger(LedgerFile):
    """The ledger of one output. Not for two threads at once; the store task owns it while a run goes on."""

    # --- the job and its spans

    def adopt_job(self, fingerprint: Mapping[str, Any], reading: Mapping[str, Any] | None = None) -> None:
        """Writes the job into a new ledger; raises OtherJob, naming what differs, where another one
        stands.
        """
        known = self.job()
        if known is None:
            with self._transaction() as db:
                self._tell(db, {"job": fingerprint, "reading": reading or {}})
            return
        wanted = json.loads(json.dumps(dict(fingerprint)))
        differing = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
        if differing:
            differences = "; ".join(
                f"{key}: {known.get(key)!r} there, {wanted.get(key)!r} asked" for key in differing
            )
            raise OtherJob(
                f"{self._path.parent.parent}: this output belongs to another job ({differences}); "
                "use the same settings, or another output.url"
            )

    @staticmethod
    def _tell(db: sqlite3.Connection, told: Mapping[str, Mapping[str, Any]]) -> None:
        rows = [(key, json.dumps(dict(value), sort_keys=True)) for key, value in told.items()]
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)

    def job(self) -> dict[str, Any] | None:
        rows = self._rows("SELECT value FROM meta WHERE key = 'job'")
        return json.loads(rows[0][0]) if rows else None

    def reading(self) -> dict[str, Any]:
        """How the output's lines are to be read, as `dialects.row_reader` takes it."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'reading'")
        return json.loads(rows[0][0]) if rows else {}

    def extend(self, span: Span) -> None:
        """Adds a span to what is asked of this output; spans that touch become one."""
        known = self.spans()
        spans = merge([*known, span])
        if spans == known:
            return
        with self._transaction() as db:
            db.execute("DELETE FROM spans")
            db.executemany("INSERT INTO spans VALUES (?, ?)", [(to_us(s.start), to_us(s.end)) for s in spans])

    def spans(self) -> list[Span]:
        rows = self._rows("SELECT start, end FROM spans ORDER BY start")
        return [Span(start=from_us(start), end=from_us(end)) for start, end in rows]

    # --- windows

    def missing(self, span: Span) -> list[Span]:
        """The stretches of `span` that no done window covers, in order."""
        return self._without(span, "state = 'done'")

    def unpublished(self, span: Span) -> list[Span]:
        """The stretches of `span` that readers cannot rely on, in order: the missing ones, and those whose
        records are staged.
        """
        return self._without(span, "state = 'done' AND staged IS NULL")

    def _without(self, span: Span, which: str) -> list[Span]:
        rows = self._rows(
            f"SELECT start, end FROM windows WHERE {which} AND {_OVERLAP} ORDER BY start",
            *_overlap(to_us(span.start), to_us(span.end)),
        )
        return subtract(span, _joined(rows))

    def staged(self) -> list[Gap]:
        """Stretches that are done while their records wait to be published."""
        rows = self._rows(
            "SELECT start, end FROM windows WHERE staged IS NOT NULL AND state = 'done' ORDER BY start"
        )
        return [Gap(start=span.start, end=span.end, error=NOT_PUBLISHED) for span in _joined(rows)]

    def gaps(self, span: Span | None = None) -> list[Gap]:
        """Windows that failed or are provisional, in order, with what was last said of them."""
        low, high = (to_us(span.start), to_us(span.end)) if span else (-(1 << 62), 1 << 62)
        rows = self._rows(
            f"SELECT start, end, error FROM windows WHERE state <> 'done' AND {_OVERLAP} ORDER BY start",
            *_overlap(low, high),
        )
        return [
            Gap(start=from_us(start), end=from_us(end), error=error or NOT_OVER) for start, end, error in rows
        ]

    def counts(self, span: Span | None = None) -> Counts:
        low, high = (to_us(span.start), to_us(span.end)) if span else (-(1 << 62), 1 << 62)
        rows = self._rows(
            "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'), "
            "coalesce(sum(records), 0) FROM windows WHERE start >= ? AND start < ?",
            low,
            high,
        )
        done, failed, records = rows[0]
        return Counts(done=done, failed=failed, records=records)

    def fail(self, settled: Iterable[Settled]) -> None:
        """Records windows that failed and brought nothing."""
        with self._transaction() as db:
            self._settle(db, settled)

    @staticmethod
    def _settle(db: sqlite3.Connection, settled: Iterable[Settled], staged: int | None = None) -> None:
        rows = [
            (to_us(one.window.start), to_us(one.window.end), one.state.value, one.records, one.error, staged)
            for one in settled
        ]
        if not rows:
            return
        whole = _overlap(min(row[0] for row in rows), max(row[1] for row in rows))
        (is_known,) = db.execute(f"SELECT EXISTS (SELECT 1 FROM windows WHERE {_OVERLAP})", whole).fetchone()
        are_apart = all(one[1] <= other[0] for one, other in pairwise(rows))
        if are_apart and not is_known and all(TRANSITIONS[State.OPEN, State(row[2])] for row in rows):
            db.executemany(_INSERT_WINDOW, rows)
            return
        for row in rows:
            start, end, state, *_ = row
            where = _overlap(start, end)
            done = f"SELECT EXISTS (SELECT 1 FROM windows WHERE {_OVERLAP} AND state = 'done')"
            before = State.DONE if db.execute(done, where).fetchone()[0] else State.OPEN
            if not TRANSITIONS[before, State(state)]:
                raise StorageError(
                    f"the window {from_us(start).isoformat()} is {before.value} and cannot become {state}"
                )
            db.execute(f"DELETE FROM windows WHERE {_OVERLAP}", where)
            db.execute(_INSERT_WINDOW, row)

    # --- builds and shards

    def begin_build(self, partition: Partition) -> int:
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO builds (partition, state) VALUES (?, 'staged')", (partition.name,)
            )
            return int(cursor.lastrowid or 0)

    def builds(self, partition: str) -> list[Build]:
        """A partition's builds, newest first: staged ones by runs that were killed, then the published
        one.
        """
        rows = self._rows("SELECT id, generation FROM builds WHERE partition = ? ORDER BY id DESC", partition)
        return [
            Build(id=id_, partition=partition, generation=generation, receipts=tuple(self._receipts(id_)))
            for id_, generation in rows
        ]

    def unfinished(self) -> list[str]:
        """Partitions that a killed run left staged, in order."""
        rows = self._rows("SELECT DISTINCT partition FROM builds WHERE state = 'staged' ORDER BY partition")
        return [name for (name,) in rows]

    def published(self) -> Iterator[Build]:
        """The output: every published build, ordered by partition, one at a time."""
        rows = self._rows(
            "SELECT id, partition, generation, second_key_shared FROM builds WHERE state = 'published' "
            "ORDER BY partition"
        )
        for id_, partition, generation, shared in rows:
            yield Build(
                id=id_,
                partition=partition,
                generation=generation,
                receipts=tuple(self._receipts(id_)),
                second_key_shared=shared,
            )

    def _receipts(self, build: int) -> list[Receipt]:
        rows = self._rows(
            "SELECT path, size_bytes, sha256, lines_path, lines_size_bytes, lines_sha256, records, "
            "raw_bytes, first, last FROM shards WHERE build = ? ORDER BY number",
            build,
        )
        receipts = []
        for path, size, sha256, lines, lines_size, lines_sha256, records, raw, first, last in rows:
            receipt = Receipt(
                path=path,
                records=records,
                size_bytes=size,
                raw_bytes=raw,
                sha256=sha256,
                first=from_us(first),
                last=from_us(last),
            )
            if lines is not None:
                made_of = replace(receipt, path=lines, size_bytes=lines_size, sha256=lines_sha256)
                receipt = replace(receipt, lines=made_of)
            receipts.append(receipt)
        return receipts

    def seal(
        self,
        build: int,
        number: int,
        receipts: Sequence[Receipt],
        settled: Iterable[Settled],
        intents: Iterable[str] = (),
    ) -> None:
        """Receipts and the windows they complete, at once. The files must be durable already.

        `intents` are paths that publishing is about to make: garbage until it succeeds, so that a kill in
        between leaves no file that nobody will ever remove.
        """
        with self._transaction() as db:
            self._keep(db, build, number, receipts)
            self._settle(db, settled, staged=build)
            db.executemany("INSERT OR IGNORE INTO garbage VALUES (?)", [(path,) for path in intents])
            # A path that keeps its bytes from one generation to the next is no garbage if a kill comes now.
            db.execute(_KEEP_WHAT_IS_NAMED)

    @staticmethod
    def _keep(db: sqlite3.Connection, build: int, number: int, receipts: Iterable[Receipt]) -> None:
        for place, receipt in enumerate(receipts, start=number):
            db.execute(
                "INSERT INTO shards (build, number, path, records, size_bytes, raw_bytes, sha256, first, "
                "last) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    build,
                    place,
                    receipt.path,
                    receipt.records,
                    receipt.size_bytes,
                    receipt.raw_bytes,
                    receipt.sha256,
                    to_us(receipt.first),
                    to_us(receipt.last),
                ),
            )

    def publish(self, build: int, shards: Sequence[Receipt], *, second_key_shared: int | None = None) -> int:
        """Makes the build its partition's output, its shards now `shards`, one for each that was sealed;
        returns the generation.

        All older builds of the partition end here; files that nothing names any more become garbage.
        """
        with self._transaction() as db:
            (partition,) = db.execute("SELECT partition FROM builds WHERE id = ?", (build,)).fetchone()
            (generation,) = db.execute(
                "SELECT 1 + coalesce(max(generation), 0) FROM builds WHERE partition = ?", (partition,)
            ).fetchone()
            db.execute(
                "INSERT OR IGNORE INTO garbage SELECT path FROM shards WHERE build IN "
                "(SELECT id FROM builds WHERE partition = ?1) UNION SELECT lines_path FROM shards "
                "WHERE lines_path IS NOT NULL AND build IN (SELECT id FROM builds WHERE partition = ?1)",
                (partition,),
            )
            db.execute(
                "UPDATE windows SET staged = NULL "
                "WHERE staged IN (SELECT id FROM builds WHERE partition = ?)",
                (partition,),
            )
            db.execute("DELETE FROM builds WHERE partition = ? AND id <> ?", (partition, build))
            db.execute(
                "UPDATE builds SET state = 'published', generation = ?, second_key_shared = ? WHERE id = ?",
                (generation, second_key_shared, build),
            )
            for number, shard in enumerate(shards):
                lines = shard.lines
                db.execute(
                    "UPDATE shards SET path = ?, size_bytes = ?, sha256 = ?, lines_path = ?, "
                    "lines_size_bytes = ?, lines_sha256 = ? WHERE build = ? AND number = ?",
                    (
                        shard.path,
                        shard.size_bytes,
                        shard.sha256,
                        lines and lines.path,
                        lines and lines.size_bytes,
                        lines and lines.sha256,
                        build,
                        number,
                    ),
                )
            db.execute(_KEEP_WHAT_IS_NAMED)
            db.execute("DELETE FROM repairs WHERE partition = ?", (partition,))
        return int(generation)

    def publish_empty(self, partitions: Iterable[tuple[str, Sequence[Settled]]]) -> None:
        """Partitions in which nothing happened: their windows and a generation without shards, many at
        once.
        """
        with self._transaction() as db:
            for partition, settled in partitions:
                self._settle(db, settled)
                db.execute(
                    "INSERT INTO builds (partition, state, generation) VALUES (?, 'published', 1)",
                    (partition,),
                )

    # --- a ledger made anew from what a manifest tells

    def restore(
        self,
        job: Mapping[str, Any],
        reading: Mapping[str, Any],
        *,
        spans: Iterable[Span],
        settled: Iterable[Settled],
        published: Iterable[Build],
    ) -> None:
        """Fills a ledger that is empty, in one transaction; the builds get ids of this ledger."""
        with self._transaction() as db:
            self._tell(db, {"job": job, "reading": reading})
            db.executemany("INSERT INTO spans VALUES (?, ?)", [(to_us(s.start), to_us(s.end)) for s in spans])
            self._settle(db, settled)
            for build in published:
                cursor = db.execute(
                    "INSERT INTO builds (partition, state, generation, second_key_shared) "
                    "VALUES (?, 'published', ?, ?)",
                    (build.partition, build.generation, build.second_key_shared),
                )
                self._keep(db, int(cursor.lastrowid or 0), 0, build.receipts)

    # --- the clock

    def seen(self) -> datetime | None:
        """What the clock showed when a run looked at it last."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'seen'")
        return from_us(json.loads(rows[0][0])) if rows else None

    def see(self, now: datetime, *, doubted_since: datetime | None = None) -> int:
        """Keeps what the clock shows now. Windows that ended after `doubted_since` are proven no longer: the
        clock by which they were over ran ahead. Returns how many there were.
        """
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('seen', ?)", (json.dumps(to_us(now)),))
            if doubted_since is None:
                return 0
            return db.execute(
                "UPDATE windows SET state = 'provisional' WHERE state = 'done' AND end > ?",
                (to_us(doubted_since),),
            ).rowcount

    # --- partitions whose files are damaged

    def void(self, partition: Partition) -> None:
        """Takes back what was proven of a partition: its windows are open again, what was staged of it is
        garbage. The published generation stays for readers, and nothing is built on it any more.
        """
        inside = Span(start=partition.start, end=partition.end)
        proven = [[to_us(span.start), to_us(span.end)] for span in subtract(inside, self.missing(inside))]
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO repairs VALUES (?, ?)", (partition.name, json.dumps(proven)))
            db.execute(
                "DELETE FROM windows WHERE start >= ? AND start < ?",
                (to_us(partition.start), to_us(partition.end)),
            )
            staged = "FROM builds WHERE partition = ? AND state = 'staged'"
            db.execute(
                f"INSERT OR IGNORE INTO garbage SELECT path FROM shards WHERE build IN (SELECT id {staged})",
                (partition.name,),
            )
            db.execute(f"DELETE {staged}", (partition.name,))
            db.execute(_KEEP_WHAT_IS_NAMED)

    def void_partitions(self) -> dict[str, list[Span]]:
        """Those partitions that wait for a generation to replace theirs, with what that has to cover."""
        return {
            name: [Span(start=from_us(start), end=from_us(end)) for start, end in json.loads(proven)]
            for name, proven in self._rows("SELECT partition, proven FROM repairs ORDER BY partition")
        }

    # --- files that nobody needs any more

    def drop_lines(self, partition: str) -> None:
        """The lines that the partition's published tables were made of are needed no more."""
        which = "lines_path IS NOT NULL AND build IN (SELECT id FROM builds WHERE partition = ?)"
        with self._transaction() as db:
            db.execute(
                f"INSERT OR IGNORE INTO garbage SELECT lines_path FROM shards WHERE {which}", (partition,)
            )
            db.execute(
                "UPDATE shards SET lines_path = NULL, lines_size_bytes = NULL, lines_sha256 = NULL "
                f"WHERE {which}",
                (partition,),
            )

    def files(self) -> set[str]:
        """Every path that a build names: shards, published or staged, and lines that some were made of."""
        rows = self._rows(
            "SELECT path FROM shards UNION SELECT lines_path FROM shards WHERE lines_path IS NOT NULL"
        )
        return {path for (path,) in rows}

    def garbage(self) -> list[str]:
        return [path for (path,) in self._rows("SELECT path FROM garbage ORDER BY path")]

    def forget_garbage(self, paths: Iterable[str]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM garbage WHERE path = ?", [(path,) for path in paths])

    # --- what runs learn

    def learned(self) -> dict[str, Any]:
        rows = self._rows("SELECT key, value FROM meta WHERE key LIKE 'learned.%'")
        return {key.removeprefix("learned."): json.loads(value) for key, value in rows}

    def learn(self, facts: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [(f"learned.{key}", json.dumps(value)) for key, value in facts.items()],
            )


def _overlap(start: int, end: int) -> tuple[int, int, int, int]:
    return start, start, end, start


def _joined(rows: Iterable[tuple[int, int]]) -> list[Span]:
    """Neighbours become one, so that a year of done windows is one span and not 35,000."""
    joined: list[tuple[int, int]] = []
    for start, end in rows:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [Span(start=from_us(start), end=from_us(end)) for start, end in joined]
