"""One partition in the making: what it holds already and what was fetched since become its next generation.

Batches arrive in the order of their windows. Rows of the base that lie before a window are copied first,
those inside it give way to what was fetched. Each sealed shard goes into the ledger together with the
windows that it completes; at the end the build is published, under new names, in one transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from harvester.dialects import Raw, Row
from harvester.events import Emit, ShardSealed
from harvester.ledger import Build, Ledger, Settled, State
from harvester.output.base import Base
from harvester.output.publishing import Publishing
from harvester.output.second_keys import SecondKeys
from harvester.output.tables import Tables
from harvester.records import Batch, chunked
from harvester.shards import OutputSettings, Receipt, naming, read_rows, suffix
from harvester.shards.disk import Disk
from harvester.shards.sink import Sink
from harvester.windows import Partition, Span, merge, subtract


class Assembly:
    """Builds one partition. `write` and `fail` take its windows in order; `close` publishes."""

    def __init__(
        self,
        partition: Partition,
        *,
        first_missing: datetime | None,
        disk: Disk,
        ledger: Ledger,
        settings: OutputSettings,
        row: Callable[[bytes], Row],
        second_keys_of: Callable[[Sequence[Raw]], Sequence[bytes | None]] | None,
        tables: Tables | None,
        emit: Emit,
    ) -> None:
        """With `tables` it is they that publish, at the end of the run."""
        self.partition: Final = partition
        self._disk = disk
        self._ledger = ledger
        self._settings = settings
        self._suffix = suffix(settings.compression)
        self._emit = emit
        self._builds = ledger.builds(partition.name)
        self._to_cover = ledger.void_partitions().get(partition.name)
        """What the published generation covers, where its files are damaged and this one is to replace it."""
        base = self._builds if self._to_cover is None else [b for b in self._builds if b.generation is None]
        self._base = Base(disk, [_of_lines(build) for build in base], row=row)
        self._tables = tables
        self._publishing = Publishing(disk, ledger, suffix=self._suffix, emit=emit)
        self._first_missing = first_missing
        self._settled: list[Settled] = []
        """Windows taken since the last seal: the next one completes them."""
        self._sealed: list[Receipt] = []
        self._sink: Sink | None = None
        self._row = row
        self._second_keys = SecondKeys(second_keys_of, disk.path(naming.STAGING)) if second_keys_of else None
        self._build = 0
        self.bytes_written = 0

    @property
    def is_untouched(self) -> bool:
        """Nothing was sealed before and no row came: there is nothing to write."""
        return self._sink is None and not self._builds

    @property
    def settled(self) -> list[Settled]:
        return self._settled

    def write(self, batch: Batch) -> None:
        """Takes the records of one window. It is proven, unless some of its items were no records."""
        window = batch.window
        if batch.records or self._builds:
            sink = self._begun()
            self._seal(sink.add(self._noted(chunked(self._base.rows_before(window.start)))))
            self._base.drop_before(window.end)
            self._seal(sink.add(self._noted(batch.chunks)))
        self._settled.append(
            Settled(window=window, records=batch.records, error=batch.error, is_over=batch.is_over)
        )

    def fail(self, settled: Settled) -> None:
        """Takes a window that could not be read; what earlier runs had of it stays."""
        self._settled.append(settled)

    def _begun(self) -> Sink:
        if self._sink is None:
            self._build = self._ledger.begin_build(self.partition)
            adopted = self._base.adoptable(self._first_missing)
            self._base.begin(len(adopted))
            if adopted:
                self._ledger.seal(self._build, 0, adopted, ())
                self._sealed += adopted
                self._note_adopted(adopted)
            self._sink = Sink(
                self._disk,
                compression=self._settings.compression,
                shard_bytes=self._settings.shard_bytes,
                name=lambda number: naming.staged(self._build, number, self._suffix),
                first_number=len(adopted),
            )
        return self._sink

    def _noted(self, chunks: Iterable[list[Row]]) -> Iterable[list[Row]]:
        return chunks if self._second_keys is None else self._second_keys.through(chunks)

    def _note_adopted(self, adopted: list[Receipt]) -> None:
        """Shards that are taken over as they are were never read in this run: read for what is counted."""
        if self._second_keys is not None:
            for receipt in adopted:
                rows = read_rows(self._disk.path(receipt.path), self._row)
                self._second_keys.note(chunked(rows))

    def _seal(self, receipts: list[Receipt], intents: list[str] | None = None) -> None:
        """Data first: the files are synced, then the folder that names them, then the ledger says so."""
        if receipts:
            self._disk.sync_folder(naming.STAGING)
        if receipts or intents is not None:
            self._ledger.seal(self._build, len(self._sealed), receipts, self._settled, intents or ())
            self._sealed += receipts
            self._settled = []
        for receipt in receipts:
            self.bytes_written += receipt.size_bytes
            self._emit(
                ShardSealed(
                    path=receipt.path,
                    records=receipt.records,
                    size_bytes=receipt.size_bytes,
                    raw_bytes=receipt.raw_bytes,
                )
            )

    def close(self) -> list[str]:
        """Seals what is left and publishes; returns the paths of the generation before, if this one
        replaces it.

        Where no window brought anything and nothing was staged, the published generation stays as it is. So
        does a damaged one until this build covers what it covered: the source may have less by now.
        """
        staged = any(build.generation is None for build in self._builds)
        if self._sink is None and not staged:
            if self._settled:
                self._ledger.fail(self._settled)
            return []
        sink = self._begun()
        if not self._covers():
            self._seal([*sink.add(chunked(self._base.rows_before(None))), *sink.finish()], [])
            self._forget()
            return []
        # Two adds and a seal may each complete shards; only the last transaction carries the intents.
        self._seal(sink.add(self._noted(chunked(self._base.rows_before(None)))))
        last = sink.finish()
        shared = self._second_keys.shared() if self._second_keys else None
        self._forget()
        if self._tables is not None:
            self._seal(last, [])
            self._tables.take(
                self.partition, self._build, self._sealed, self._builds, second_key_shared=shared
            )
            return []
        shards = [*self._sealed, *last]
        complete = self._is_complete()
        publishing = self._publishing
        names = publishing.names(self.partition, shards, self._builds, complete=complete)
        self._seal(last, publishing.intents(names))
        return publishing.publish(
            self.partition,
            self._build,
            shards,
            names,
            self._builds,
            complete=complete,
            second_key_shared=shared,
        )

    def _covers(self) -> bool:
        return all(self._is_done(span) for span in self._to_cover or ())

    def _is_complete(self) -> bool:
        return self._is_done(Span(start=self.partition.start, end=self.partition.end))

    def _is_done(self, span: Span) -> bool:
        """By the ledger, or by what the next seal is about to tell it."""
        done = [
            Span(start=one.window.start, end=one.window.end)
            for one in self._settled
            if one.state is State.DONE
        ]
        return not any(subtract(part, merge(done)) for part in self._ledger.missing(span))

    def abandon(self) -> None:
        """Leaves the shard under way; what was sealed stays for the next run."""
        self._forget()
        if self._sink is not None:
            self._sink.abandon()

    def _forget(self) -> None:
        if self._second_keys is not None:
            self._second_keys.close()


def _of_lines(build: Build) -> Build:
    return replace(build, receipts=tuple(receipt.of_lines for receipt in build.receipts))
