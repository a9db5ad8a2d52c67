"""What readers get where the output is Parquet: a table made of each sealed shard of lines.

The lines stay the truth that a partition grows by: they are sealed, adopted and merged as ever. A table is a
pure function of them and of one shape, which all tables of the output share, since readers want one type for
a column. Where records widen the shape, tables that were made before are made again, at the end of the run
and before the manifest, so that no manifest tells of two shapes.

Lines are kept until the output is complete, those of a partition that is not whole for longer. Where a later
span widens a column after that, tables are made of tables: equal bytes, but where instants or objects stand
in a column that has become text, which are spelt anew.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any, Final

from harvester.events import ColumnWidened, Emit
from harvester.ledger import Build, Ledger
from harvester.output.publishing import Publishing
from harvester.shapes import Shape, join, ordered
from harvester.shards import PARQUET, OutputSettings, Receipt, naming, read_lines
from harvester.shards.disk import Disk
from harvester.windows import Partition, Span

_BLOCK_BYTES: Final = 1 << 20
"""As much goes to the disk at once."""


@dataclass(slots=True, kw_only=True)
class _Ready:
    """A partition whose tables can be published: its lines are sealed, or were before."""

    partition: Partition
    build: int
    lines: list[Receipt]
    before: Sequence[Build]
    second_key_shared: int | None
    shape: Shape | None = None
    """That `tables` were made in; None where there are none yet."""
    tables: list[Receipt] | None = None


class Tables:
    """Of one output, for one run. `take` partitions as they are sealed, then `publish`."""

    def __init__(
        self,
        disk: Disk,
        ledger: Ledger,
        settings: OutputSettings,
        *,
        partition_named: Callable[[str], Partition],
        emit: Emit,
    ) -> None:
        self._disk = disk
        self._ledger = ledger
        self._settings = settings
        self._partition_named = partition_named
        self._emit = emit
        self._publishing = Publishing(disk, ledger, suffix=PARQUET, emit=emit)
        self._ready: dict[str, _Ready] = {}
        self._older: dict[str, _Ready] | None = None
        """Published by earlier runs; None until they are looked at."""
        self._shape = settings.columns
        self.bytes_written = 0

    @property
    def waits(self) -> bool:
        """Whether there is something to publish, or lines are kept that nothing needs any more."""
        return bool(self._ready) or bool(self._droppable())

    def take(
        self,
        partition: Partition,
        build: int,
        lines: Sequence[Receipt],
        before: Sequence[Build],
        *,
        second_key_shared: int | None,
    ) -> None:
        """A partition is sealed. Raises StorageError for records that make no table."""
        if self._older is None:
            self._older = dict(self._looked_at())
        self._older.pop(partition.name, None)
        ready = self._ready[partition.name] = _Ready(
            partition=partition,
            build=build,
            lines=list(lines),
            before=before,
            second_key_shared=second_key_shared,
        )
        self._make(ready)

    def _looked_at(self) -> Iterator[tuple[str, _Ready]]:
        """What earlier runs published: the shape of this run holds theirs."""
        from harvester.shards.parquet import shape_of  # an extra

        damaged = self._ledger.void_partitions()
        for build in self._ledger.published():
            if not build.receipts or build.partition in damaged:
                continue
            shapes = {shape_of(self._disk.path(receipt.path)) for receipt in build.receipts}
            for shape in shapes:
                self._shape = ordered(join(self._shape, shape), self._settings.columns)
            yield (
                build.partition,
                _Ready(
                    partition=self._partition_named(build.partition),
                    build=build.id,
                    lines=[receipt.of_lines for receipt in build.receipts],
                    before=[build],
                    second_key_shared=build.second_key_shared,
                    shape=shapes.pop() if len(shapes) == 1 else None,
                    tables=list(build.receipts),
                ),
            )

    def _make(self, ready: _Ready) -> None:
        from harvester.shards.parquet import Converter

        converter = Converter(
            self._shape, declared=self._settings.columns, timestamps=self._settings.timestamps
        )
        tables = []
        for number, shard in enumerate(ready.lines):
            path = naming.staged(ready.build, number, PARQUET)
            written: list[_Written] = []
            for column in converter.convert(
                partial(read_lines, self._disk.path(shard.path)), partial(self._opened, path, written)
            ):
                self._emit(
                    ColumnWidened(
                        partition=ready.partition.name,
                        field=column.field,
                        was=column.was or "",
                        now=column.now,
                    )
                )
            table = written[-1]
            lines = None if shard.path.endswith(PARQUET) else shard
            tables.append(
                replace(
                    shard,
                    path=path,
                    size_bytes=table.tell(),
                    sha256=table.digest.hexdigest(),
                    lines=lines,
                )
            )
        self._shape = converter.shape
        # Where a later shard has widened the shape, the earlier ones are not in it yet.
        ready.shape = self._shape if not ready.lines or not converter.grew_midway else None
        ready.tables = tables

    @contextmanager
    def _opened(self, path: str, written: "list[_Written]") -> Iterator[IO[bytes]]:
        """A new file, sealed at the end; one that ends in an error is only closed."""
        with self._disk.create(path) as file:
            table = _Written(self._disk, file, path)
            yield table  # type: ignore[misc]
            table.seal()
            self._disk.close_durably(file, path)
            written.append(table)

    def publish(self) -> None:
        """Publishes all that was taken, and anew what earlier runs published in a narrower shape. Raises
        StorageError."""
        if self._ready:
            self._publish_all()
        self._drop_lines()  # also those that a run left which was killed in front of this

    def _publish_all(self) -> None:
        all_ready = {**(self._older or {}), **self._ready}
        stale = [ready for ready in all_ready.values() if ready.shape != self._shape]
        while stale:
            for ready in stale:
                self._make(ready)
            stale = [ready for ready in all_ready.values() if ready.shape != self._shape]
        self._disk.sync_folder(naming.STAGING)
        for name in sorted(all_ready):
            self._publish(all_ready[name])
        self._ready = {}
        self._older = None

    def _publish(self, ready: _Ready) -> None:
        tables = ready.tables or []
        is_older = any(build.id == ready.build and build.generation is not None for build in ready.before)
        if is_older and not any(table.path.startswith(naming.STAGING) for table in tables):
            return  # it is in the shape already
        complete = self._is_done(Span(start=ready.partition.start, end=ready.partition.end))
        names = self._publishing.names(ready.partition, tables, ready.before, complete=complete)
        staged = [table.path for table in tables]
        self._ledger.seal(ready.build, len(ready.lines), [], (), [*self._publishing.intents(names), *staged])
        self._publishing.publish(
            ready.partition,
            ready.build,
            tables,
            names,
            ready.before,
            complete=complete,
            second_key_shared=ready.second_key_shared,
        )
        self.bytes_written += sum(table.size_bytes for table in tables)

    def _is_done(self, span: Span) -> bool:
        return not self._ledger.missing(span)

    def _drop_lines(self) -> None:
        for partition in self._droppable():
            self._ledger.drop_lines(partition)

    def _droppable(self) -> list[str]:
        """Partitions that are whole and keep their lines, once the output is complete."""
        if self._ledger.unfinished() or not all(map(self._is_done, self._ledger.spans())):
            return []
        with_lines = (
            self._partition_named(build.partition)
            for build in self._ledger.published()
            if any(receipt.lines for receipt in build.receipts)
        )
        return [one.name for one in with_lines if self._is_done(Span(start=one.start, end=one.end))]


class _Written(io.RawIOBase):
    """A file as the writer of tables wants it, on the disk as everything else is written. It comes in
    thousands of crumbs, which are gathered; `seal` writes the last of them.
    """

    def __init__(self, disk: Disk, file: IO[bytes], path: str) -> None:
        self._disk = disk
        self._file = file
        self._path = path
        self._gathered = bytearray()
        self._size_bytes = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        content = memoryview(block).cast("B")
        self._gathered += content
        self.digest.update(content)
        self._size_bytes += len(content)
        if len(self._gathered) >= _BLOCK_BYTES:
            self.seal()
        return len(content)

    def seal(self) -> None:
        self._disk.write(self._file, bytes(self._gathered), self._path)
        self._gathered.clear()

    def tell(self) -> int:
        return self._size_bytes
