"""An output folder while a run owns it: locked, its ledger open, one partition at a time being assembled.

Everything here blocks (compression, fsync, SQLite) and belongs to one thread at a time: the scheduler's
store task.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from anyio import to_thread

from harvester.dialects import Dialect, reading_of
from harvester.errors import ConfigError, StorageError
from harvester.events import Emit, FileDamaged, FileForeign, ManifestChanged, PartitionPublished
from harvester.ledger import Ledger, Lock, Settled, home_of, keep_to_oneself
from harvester.output import manifest, soundness
from harvester.output.assembly import Assembly
from harvester.output.picture import picture
from harvester.output.tables import Tables
from harvester.output.told import paths_told
from harvester.printable import printable
from harvester.records import Batch
from harvester.shards import OutputSettings, naming, read_rows
from harvester.shards.disk import Disk
from harvester.windows import Partition, Span, partition_named

EMPTY_WINDOWS: Final = 2048
"""Windows of empty partitions that wait for one common transaction: years of nothing would otherwise pay a
sync a day. A kill costs their requests again.
"""


class Output:
    """Owns OUT for one run: `async with Output(...) as output`; its methods block."""

    def __init__(
        self,
        settings: OutputSettings,
        *,
        fingerprint: Mapping[str, Any],
        time_zone: ZoneInfo,
        dialect: Dialect,
        emit: Emit,
    ) -> None:
        self._settings = settings
        self._fingerprint = fingerprint
        self._time_zone = time_zone
        self._dialect = dialect
        self._emit = emit
        self._disk = Disk(settings.folder)
        self._stack = ExitStack()
        self._assembly: Assembly | None = None
        self._empty: list[tuple[Partition, list[Settled]]] = []
        self._empty_windows = 0
        self._bytes_written = 0
        self._has_quarantine = False
        self.repairing: dict[str, list[str]] = {}
        """Partitions that are fetched again, each with the damaged files that were found in it."""
        self.strangers: list[str] = []
        self._tables: Tables | None = None
        self.ledger: Ledger = None  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        """Raises Locked or OtherJob where the output is not ours, StorageError where it cannot be written."""
        await to_thread.run_sync(self._enter)
        return self

    def _enter(self) -> None:
        root = self._disk.root
        if root.exists() and not root.is_dir():
            raise ConfigError(f"output.url: {root} is a file; name a folder")
        soundness.check_ledger_is_there(root)
        soundness.check_nothing_is_replaced(self._disk)
        with self._stack as stack:
            home = home_of(root).name
            self._disk.make_folder("")
            self._disk.make_folder(home)
            stack.enter_context(Lock(home_of(root)))
            keep_to_oneself(home_of(root))
            if self._disk.path(naming.MANIFEST).exists():
                changed = soundness.check_ledger_is_current(root)
                if changed is not None:
                    self._emit(ManifestChanged(detail=changed))
            self._disk.make_folder(naming.STAGING)
            self.ledger = stack.enter_context(Ledger(home_of(root)))
            self.ledger.adopt_job(self._fingerprint, reading_of(self._dialect))
            self._sweep_staging()
            if self._settings.format == "parquet":
                self._tables = Tables(
                    self._disk,
                    self.ledger,
                    self._settings,
                    partition_named=self.partition,
                    emit=self._emit,
                )
            self._has_quarantine = bool(self._disk.files(naming.QUARANTINE))
            self._stack = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    def check_shards(self, *, repair: bool) -> None:
        """Raises StorageError where a published file is gone, or not as large as it was sealed.

        With `repair` every file is read, and a partition with a damaged one is taken back: the run fetches it
        again. Files that are not ours are named and left alone.
        """
        for damage in soundness.damages(self._disk, self.ledger, thorough=repair):
            if damage.in_the_way:
                raise StorageError(
                    f"{self._disk.path(damage.path)}: {damage.detail}; nothing was changed. Move the folder "
                    "away, then run again with --repair to fetch the shard's partition again"
                )
            if not repair:
                raise StorageError(
                    f"{self._disk.path(damage.path)}: {damage.detail}; nothing was changed. "
                    "`harvester run JOB.toml --repair` fetches its partition again; harvester verify shows "
                    "what else is damaged"
                )
            self.repairing.setdefault(damage.partition, []).append(damage.path)
            self._emit(FileDamaged(path=damage.path, partition=damage.partition, detail=damage.detail))
        for name in self.repairing:
            self.ledger.void(self.partition(name))
        if repair:
            self.repairing.update({name: [] for name in self.ledger.void_partitions()} | self.repairing)
            self.strangers = soundness.strangers(self._disk, self.ledger)
            for path in self.strangers:
                self._emit(FileForeign(path=path))

    def repaired(self) -> list[str]:
        """Partitions that were damaged and have a new generation."""
        return sorted({*self.repairing} - {*self.ledger.void_partitions()})

    def records_in(self, span: Span) -> int:
        """Records of the published partitions inside a span. Only shards that the span cuts are read."""
        records = 0
        for build in self.ledger.published():
            for receipt in build.receipts:
                if span.start <= receipt.first and receipt.last < span.end:
                    records += receipt.records
                elif receipt.first < span.end and receipt.last >= span.start:
                    rows = read_rows(self._disk.path(receipt.path), self._dialect.row)
                    records += sum(span.contains(row[0]) for row in rows)
        return records

    @property
    def bytes_written(self) -> int:
        of_tables = self._tables.bytes_written if self._tables else 0
        return self._bytes_written + of_tables + (self._assembly.bytes_written if self._assembly else 0)

    def spill_path(self, name: str) -> Path:
        """A file for rows that wait; gone with the next run at the latest."""
        return self._disk.path(f"{naming.STAGING}/spill-{name}")

    def _sweep_staging(self) -> None:
        """Removes what killed runs left in staging, and paths that they were about to publish. What the
        manifest that stands still names waits until the next one stands.
        """
        kept = self.ledger.files()
        for name in self._disk.files(naming.STAGING):
            path = f"{naming.STAGING}/{name}"
            if path not in kept:
                self._disk.remove(path)
        for name in self._disk.files(naming.QUARANTINE):
            if name.endswith(".tmp"):
                self._disk.remove(f"{naming.QUARANTINE}/{name}")
        told = paths_told(self._disk.root)
        self._remove_garbage(path for path in self.ledger.garbage() if path not in told)

    def _remove_garbage(self, paths: Iterable[str]) -> None:
        garbage = list(paths)
        if garbage:
            for path in garbage:
                self._disk.remove(path)
            # Before they are forgotten: what a power loss brings back would be removed by nobody, and be read
            # twice. Also where nothing was removed now: a run that was killed may have, and not synced.
            for folder in sorted({path.rpartition("/")[0] for path in garbage}):
                if self._disk.path(folder).is_dir():
                    self._disk.sync_folder(folder)
            self.ledger.forget_garbage(garbage)

    # --- a partition's life

    @property
    def current(self) -> Partition | None:
        return self._assembly.partition if self._assembly else None

    def partition(self, name: str) -> Partition:
        return partition_named(name, self._settings.partition_by, self._time_zone)

    def open(self, partition: Partition, *, asked: Sequence[Span]) -> None:
        """Begins a partition, of which this run brings what is missing in the spans that are asked for."""
        inside = Span(start=partition.start, end=partition.end)
        parts = [part for span in asked if (part := span.overlap(inside))]
        missing = [gap for part in parts for gap in self.ledger.missing(part)]
        self._assembly = Assembly(
            partition,
            first_missing=missing[0].start if missing else None,
            disk=self._disk,
            ledger=self.ledger,
            settings=self._settings,
            row=self._dialect.row,
            second_keys_of=self._dialect.second_keys,
            tables=self._tables,
            emit=self._emit,
        )

    def write(self, batch: Batch) -> None:
        assert self._assembly is not None
        if batch.rejects or self._has_quarantine:
            self._quarantine(batch)
        self._assembly.write(batch)

    def fail(self, settled: Settled) -> None:
        assert self._assembly is not None
        self._assembly.fail(settled)

    def close_partition(self) -> None:
        """Publishes the partition under way."""
        assembly = self._assembly
        if assembly is None:
            return
        if assembly.is_untouched:
            self._put_off(assembly)
        else:
            self._close(assembly)
        self._assembly = None

    def _close(self, assembly: Assembly) -> None:
        replaced = assembly.close()
        self._bytes_written += assembly.bytes_written
        assembly.bytes_written = 0
        if replaced:
            # The old names stay until a manifest without them stands.
            self.write_manifest()

    def _put_off(self, assembly: Assembly) -> None:
        self._empty.append((assembly.partition, assembly.settled))
        self._empty_windows += len(assembly.settled)
        if self._empty_windows >= EMPTY_WINDOWS:
            self._flush_empty()

    def _flush_empty(self) -> None:
        if not self._empty:
            return
        self.ledger.publish_empty([(partition.name, settled) for partition, settled in self._empty])
        for partition, settled in self._empty:
            covered_s = sum(
                (one.window.end - one.window.start).total_seconds() for one in settled if not one.error
            )
            self._emit(
                PartitionPublished(
                    partition=partition.name,
                    generation=1,
                    records=0,
                    shards=0,
                    complete=covered_s == (partition.end - partition.start).total_seconds(),
                )
            )
        self._empty, self._empty_windows = [], 0

    def abandon(self) -> None:
        """Leaves the partition under way as it is: what was sealed stays for the next run."""
        if self._assembly is not None:
            self._assembly.abandon()
            self._assembly = None

    def _quarantine(self, batch: Batch) -> None:
        """Keeps what is no record beside the output, one file a window; a window that is whole again loses
        its file.
        """
        path = f"{naming.QUARANTINE}/{batch.window.start.strftime('%Y%m%dT%H%M%S.%fZ')}.jsonl"
        if not batch.rejects:
            if self._disk.remove(path):
                self._disk.sync_folder(naming.QUARANTINE)
            return
        self._disk.make_folder(naming.QUARANTINE)
        lines = [
            json.dumps(  # in ASCII: who looks at what a source should not have sent may do so on a terminal
                {
                    "reason": printable(reject.reason),
                    "item": reject.raw.decode("utf-8", errors="backslashreplace"),
                }
            ).encode()
            for reject in batch.rejects
        ]
        self._disk.replace(path, b"\n".join([*lines, b""]))

    # --- the manifest

    def withdraw_success(self) -> None:
        manifest.withdraw_success(self._disk)

    def is_told(self) -> bool:
        """Whether the manifest that stands says what the ledger says, with its `_SUCCESS` if it may have
        one.
        """
        if self._tables is not None and self._tables.waits:
            return False
        try:
            self._flush_empty()  # else a run that found nothing leaves no trace beside an older manifest
        except StorageError:
            return False  # `write_manifest` tells what it can, and fails in its turn
        picture = self.manifest()
        return self._disk.content(naming.MANIFEST) == manifest.encode(picture) and manifest.success_is_right(
            self._disk.root, complete=picture.complete
        )

    def write_manifest(self) -> None:
        """Tells the ledger's state to readers, then removes the files that nobody needs any more."""
        try:
            self._flush_empty()
            if self._tables is not None:
                self._tables.publish()
        finally:  # where the ledger takes nothing more, what it holds is told all the same
            manifest.write(self._disk, self.manifest())
        self._remove_garbage(self.ledger.garbage())

    def manifest(self) -> manifest.Manifest:
        return picture(self.ledger, self._settings.partition_by, self._time_zone)
