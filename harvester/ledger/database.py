"""The ledger: which windows are proven, which shards hold them, and who may write.

Every change is one transaction that comes after the data it speaks of is durable, so a kill at any point
leaves a ledger that is true. Windows are in proven.py, the job and what runs learn in facts.py.

A partition's shards belong to a build. A build is STAGED while it grows; publishing it, in one transaction,
makes it the partition's generation and drops every older build. Files that no build names any more wait in
`garbage` until a manifest that does not name them stands; then they are removed, and only they.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from harvester.ledger.proven import Proven
from harvester.ledger.states import Build, Settled, from_us, to_us
from harvester.shards import Receipt
from harvester.windows import Partition, Span, subtract

_KEEP_WHAT_IS_NAMED: Final = (
    "DELETE FROM garbage WHERE path IN (SELECT path FROM shards UNION ALL "
    "SELECT lines_path FROM shards WHERE lines_path IS NOT NULL)"
)


class Ledger(Proven):
    """The ledger of one output. Not for two threads at once; the store task owns it while a run goes on."""

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
            lines = receipt.lines
            db.execute(
                "INSERT INTO shards (build, number, path, records, size_bytes, raw_bytes, sha256, first, "
                "last, lines_path, lines_size_bytes, lines_sha256) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    lines and lines.path,
                    lines and lines.size_bytes,
                    lines and lines.sha256,
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
                "WITH mine AS (SELECT id FROM builds WHERE partition = ?) "
                "INSERT OR IGNORE INTO garbage SELECT path FROM shards WHERE build IN mine UNION "
                "SELECT lines_path FROM shards WHERE lines_path IS NOT NULL AND build IN mine",
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
