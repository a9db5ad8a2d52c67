"""One shard, read from its file: is it what the manifest says, byte by byte and record by record?"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from harvester.dialects import Key, Row
from harvester.errors import StorageError
from harvester.output import ManifestShard
from harvester.output.manifest import iso
from harvester.shards import PARQUET, naming, read_lines
from harvester.shards.disk import plain
from harvester.verify.keys import Keys
from harvester.verify.verdict import Verdict
from harvester.windows import Partition, Span

Read = Callable[[bytes], Row]
NAMED_AT_MOST: Final = 100
"""Differences of one kind that are listed for one shard; the rest are counted."""


class Shards:
    """Takes shards in the order of the manifest; what differs goes into the verdict."""

    def __init__(
        self,
        out: Path,
        verdict: Verdict,
        *,
        read: Read,
        identity: Callable[[Row], Key],
        keys: Keys,
        has_keys: bool,
    ) -> None:
        """`has_keys` as `dialects.has_keys` says: else tables are ordered by time alone."""
        self._out = out
        self._has_keys = has_keys
        self._verdict = verdict
        self._differ = verdict.differ
        self._read = read
        self._identity = identity
        self._keys = keys
        self._last: dict[str, tuple[datetime, Key]] = {}
        self._damaged: set[str] = set()

    def has_file(self, shard: ManifestShard) -> bool:
        """Whether the file can be read on; size and digest are judged here."""
        if not shard.path.startswith(f"{naming.folder(shard.partition)}/") or ".." in shard.path.split("/"):
            self._differ("manifest", shard.path, f"does not lie in {naming.folder(shard.partition)}")
            return False
        path = self._out / shard.path
        try:
            with plain(path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
        except FileNotFoundError:
            self._differ("missing", shard.path, f"{shard.records} records are gone with it")
            return False
        except OSError as error:
            self._differ("unreadable", shard.path, str(error.strerror))
            return False
        self._verdict.shards += 1
        self._verdict.bytes += size
        if size != shard.bytes:
            self._differ("size", shard.path, f"{shard.bytes} bytes in the manifest, {size} on disk")
        if digest != shard.sha256:
            self._differ("sha256", shard.path, f"{shard.sha256} in the manifest, {digest} on disk")
            self._damaged.add(shard.path)
        return True

    def is_intact(self, shard: ManifestShard) -> bool:
        return shard.path not in self._damaged

    def records(self, shard: ManifestShard, partition: Partition) -> int:
        """How many there are; each is judged by its place, its partition and whether it can be read.

        What stands in a file that is not the one that was sealed is no record of this output, whatever it
        looks like: its lines are counted to tell what was lost, and blame no other file.
        """
        if not self.is_intact(shard):
            self._count_lines(shard)
            return 0
        read, keys = self._read, self._keys
        is_by_key = self._has_keys or not shard.path.endswith(PARQUET)
        inside = Span(start=partition.start, end=partition.end)
        records = raw_bytes = 0
        named = _Named(self._differ)
        first: datetime | None = None
        before = self._last.get(shard.partition)
        try:
            for number, line in enumerate(read_lines(self._out / shard.path), start=1):
                records += 1
                raw_bytes += len(line) + 1
                row = row_of(read, line)
                if row is None:
                    named.differ("unreadable", f"{shard.path}:{number}", "is no record of this dialect")
                    continue
                moment, key = row[0], row[1]
                keys.add(self._identity(row))
                first = first or moment
                if not inside.contains(moment):
                    named.differ(
                        "partition",
                        f"{shard.path}:{number}",
                        f"key {key!r} of {iso(moment)} belongs elsewhere",
                    )
                if before is not None and (moment, key if is_by_key else before[1]) < before:
                    named.differ(
                        "order", f"{shard.path}:{number}", f"key {key!r} stands behind a later record"
                    )
                before = (moment, key)
        except StorageError as error:
            self._differ("unreadable", shard.path, f"after line {records}: {error}")
        named.close(shard.path)
        if before is not None:
            self._last[shard.partition] = before
        self._verdict.records += records
        if records != shard.records:
            self._differ(
                "count", shard.path, f"{shard.records} records in the manifest, {records} in the file"
            )
        if raw_bytes != shard.raw_bytes and not shard.path.endswith(PARQUET):
            self._differ(
                "size", shard.path, f"{shard.raw_bytes} raw bytes in the manifest, {raw_bytes} in the file"
            )
        if (
            first is not None
            and before is not None
            and (iso(first), iso(before[0])) != (shard.first, shard.last)
        ):
            self._differ(
                "count",
                shard.path,
                f"{shard.first} to {shard.last} in the manifest, "
                f"{iso(first)} to {iso(before[0])} in the file",
            )
        return records

    def _count_lines(self, shard: ManifestShard) -> None:
        lines = 0
        named = _Named(self._differ)
        try:
            for lines, line in enumerate(read_lines(self._out / shard.path), start=1):
                if row_of(self._read, line) is None:
                    named.differ("unreadable", f"{shard.path}:{lines}", "is no record of this dialect")
        except StorageError as error:
            self._differ("unreadable", shard.path, f"after line {lines}: {error}")
        named.close(shard.path)
        if lines != shard.records:
            self._differ(
                "count", shard.path, f"{shard.records} records in the manifest, {lines} lines on disk"
            )


class _Named:
    """Lists the first differences of each kind and counts the rest: a broken shard gives no million lines."""

    def __init__(self, differ: Callable[[str, str, str], None]) -> None:
        self._differ = differ
        self._counts: dict[str, int] = {}

    def differ(self, kind: str, subject: str, detail: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= NAMED_AT_MOST:
            self._differ(kind, subject, detail)

    def close(self, path: str) -> None:
        for kind, number in self._counts.items():
            if number > NAMED_AT_MOST:
                self._differ(kind, path, f"{number - NAMED_AT_MOST} further records of the same kind")


def row_of(read: Read, line: bytes) -> Row | None:
    try:
        return read(line)
    except ValueError:
        return None
