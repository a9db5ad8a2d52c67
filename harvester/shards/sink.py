"""The sink: rows in order go in, sealed shards come out.

Where a shard ends is decided by its content alone: before the record that would make it larger than
`shard_bytes`. So the same rows give the same files, however they were cut into batches on the way.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import accumulate
from operator import itemgetter
from typing import IO, Final

from harvester.dialects import Raw, Row
from harvester.shards import formats
from harvester.shards.disk import Disk
from harvester.shards.receipts import Receipt

BLOCK_BYTES: Final = 1 << 20
"""What the compressor is given at once. 1 MiB amortises its call and stays in the cache."""
_RAW: Final = itemgetter(3)


class _Open:
    """A shard being written. Not output until it is sealed and the ledger says so."""

    def __init__(self, disk: Disk, path: str, compression: str) -> None:
        self._disk = disk
        self._path = path
        self._file: IO[bytes] = disk.create(path)
        self._encoder = formats.encoder(compression)
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, block: bytes) -> None:
        self._put(self._encoder.encode(block))

    def _put(self, encoded: bytes) -> None:
        if encoded:
            self._digest.update(encoded)
            self._size_bytes += len(encoded)
            self._disk.write(self._file, encoded, self._path)

    def seal(self, *, records: int, raw_bytes: int, first: datetime, last: datetime) -> Receipt:
        self._put(self._encoder.finish())
        self._disk.close_durably(self._file, self._path)
        return Receipt(
            path=self._path,
            records=records,
            size_bytes=self._size_bytes,
            raw_bytes=raw_bytes,
            sha256=self._digest.hexdigest(),
            first=first,
            last=last,
        )

    def abandon(self) -> None:
        self._file.close()
        self._disk.remove(self._path)


class Sink:
    """Writes one build of one partition. `name` gives the path of the shard with a number."""

    def __init__(
        self,
        disk: Disk,
        *,
        compression: str,
        shard_bytes: int,
        name: Callable[[int], str],
        first_number: int = 0,
    ) -> None:
        self._disk = disk
        self._compression = compression
        self._shard_bytes = shard_bytes
        self._name = name
        self._number = first_number
        self._open: _Open | None = None
        self._block: list[Raw] = []
        self._block_bytes = 0
        self._records = 0
        self._raw_bytes = 0
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, chunks: Iterable[list[Row]]) -> list[Receipt]:
        """Appends rows, any number of them at a time; returns the shards that were filled and sealed by it,
        durable up to their folder's entry.
        """
        sealed: list[Receipt] = []
        for rows in chunks:
            raws = list(map(_RAW, rows))
            ends = list(accumulate(map(len, raws), initial=0))
            at = 0
            while at < len(rows):
                to = self._fitting(ends, at)
                if to == at:
                    sealed += self.finish()
                    continue
                if not self._records:
                    self._first = rows[at][0]
                self._block += raws[at:to]
                size = ends[to] - ends[at] + to - at
                self._block_bytes += size
                self._raw_bytes += size
                self._records += to - at
                self._last = rows[to - 1][0]
                if self._block_bytes >= BLOCK_BYTES:
                    self._write_block()
                at = to
        return sealed

    def _fitting(self, ends: list[int], at: int) -> int:
        """Where the rows from `at` on fill the block, or the shard: behind the first that makes the block
        large enough, before the first that makes the shard too large. `at` itself where the shard is full.
        """
        block = bisect_left(
            range(at + 1, len(ends)),
            BLOCK_BYTES - self._block_bytes,
            key=lambda to: ends[to] - ends[at] + to - at,
        )
        shard = bisect_right(
            range(at + 1, len(ends)),
            self._shard_bytes - self._raw_bytes,
            key=lambda to: ends[to] - ends[at] + to - at,
        )
        if not shard and not self._records:
            shard = 1  # a single record may be larger than any shard
        return at + min(block + 1, shard, len(ends) - 1 - at)

    def _write_block(self) -> None:
        if self._open is None:
            self._open = _Open(self._disk, self._name(self._number), self._compression)
        self._block.append(b"")
        self._open.write(b"\n".join(self._block))
        self._block = []
        self._block_bytes = 0

    def finish(self) -> list[Receipt]:
        """Seals the shard under way: one receipt, or none where no row came since the last."""
        if not self._records:
            return []
        if self._block:
            self._write_block()
        assert self._open is not None
        assert self._first is not None
        assert self._last is not None
        receipt = self._open.seal(
            records=self._records, raw_bytes=self._raw_bytes, first=self._first, last=self._last
        )
        self._open = None
        self._number += 1
        self._records = self._raw_bytes = 0
        return [receipt]

    def abandon(self) -> None:
        """Throws away the shard under way: its windows are not proven and will be asked again."""
        if self._open is not None:
            self._open.abandon()
            self._open = None
        self._block = []
        self._records = self._raw_bytes = self._block_bytes = 0
