"""What a partition holds already, read back so that a new build can be made of it and of what was fetched
since.

The base has layers: builds that killed runs left staged, newest first, and the published one below. A layer
speaks for all rows up to its last one; the layer below it goes on from there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from harvester.dialects import Key, Row
from harvester.errors import StorageError
from harvester.ledger import Build
from harvester.shards import Receipt, read_rows
from harvester.shards.disk import Disk

_Position = tuple[datetime, Key]


class Base:
    """Rows of earlier builds in order. `rows_before` and `drop_before` move through them once."""

    def __init__(self, disk: Disk, builds: Sequence[Build], *, row: Callable[[bytes], Row]) -> None:
        self._disk = disk
        self._builds = builds
        self._row = row
        self._rows: Iterator[Row] = iter(())
        self._next: Row | None = None

    def adoptable(self, first_missing: datetime | None) -> list[Receipt]:
        """Leading shards of the newest build that a new build would write the same to the byte.

        A shard ends where the next record would not fit, so the record after it must be known and must
        stay: the shard behind it has to begin before the first window that is about to be read.
        """
        receipts: Final = self._builds[0].receipts if self._builds else ()
        count = 0
        for receipt, after in pairwise(receipts):
            if first_missing is not None and not (
                receipt.last < first_missing and after.first < first_missing
            ):
                break
            self._check(receipt)
            count += 1
        return list(receipts[:count])

    def begin(self, adopted: int) -> None:
        """Starts reading behind the adopted shards."""
        self._rows = self._read(adopted)
        self._next = next(self._rows, None)

    def rows_before(self, end: datetime | None) -> Iterator[Row]:
        """Takes the rows with a time before `end` (None: all that are left)."""
        while self._next is not None and (end is None or self._next[0] < end):
            yield self._next
            self._next = next(self._rows, None)

    def drop_before(self, end: datetime) -> None:
        for _ in self.rows_before(end):
            pass

    def _read(self, adopted: int) -> Iterator[Row]:
        position: _Position | None = None
        last: _Position | None = None
        for place, build in enumerate(self._builds):
            for number, receipt in enumerate(build.receipts):
                if place == 0 and number < adopted:
                    continue
                if position is not None and receipt.last < position[0]:
                    continue
                for row in self._shard(receipt):
                    if position is None or (row[0], row[1]) > position:
                        yield row
                        last = (row[0], row[1])
            if build.receipts:
                position = max(filter(None, (position, last)))

    def _check(self, receipt: Receipt) -> None:
        """A generation vouches for every byte of its shards, so none is taken over unread."""
        if self._disk.sha256(receipt.path) != receipt.sha256:
            raise StorageError(
                f"{self._disk.path(receipt.path)}: is not the shard that the ledger knows (its SHA-256 "
                "differs); nothing was changed. `harvester run JOB.toml --repair` fetches its partition again"
            )

    def _shard(self, receipt: Receipt) -> Iterator[Row]:
        self._check(receipt)
        yield from read_rows(self._disk.path(receipt.path), self._row)
