"""The lines that tables were made of, found again in staging where no ledger tells of them any more.

That they are the lines of a table is proven by making the table of them anew: it must have the very bytes. So
a partition that was begun is completed from its lines, and its shards are cut where they would have been.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Any, Final, Literal

from harvester.errors import StorageError
from harvester.shards import PARQUET, Receipt, naming, read_lines
from harvester.shards.disk import Disk

_LINES: Final = ".jsonl.zst"
_TIMESTAMPS: Final[tuple[Literal["typed", "string"], ...]] = ("typed", "string")


def with_lines(disk: Disk) -> Callable[[Receipt], Receipt]:
    """Gives a table the lines that it was made of, as its receipt; one whose lines are gone stays as it is.

    Found lines get a name that no build of another ledger will take.
    """
    sizes: dict[tuple[int, int], list[str]] | None = None

    def found(table: Receipt) -> Receipt:
        nonlocal sizes
        if not table.path.endswith(PARQUET):
            return table
        if sizes is None:
            sizes = _sizes(disk)
        for path in sizes.get((table.records, table.raw_bytes), ()):
            if _makes(disk, path, table):
                lines = replace(table, path=path, size_bytes=disk.size(path), sha256=disk.sha256(path))
                kept = replace(lines, path=naming.kept(lines.sha256, _LINES))
                disk.link(path, kept.path)
                disk.sync_folder(naming.STAGING)
                return replace(table, lines=kept)
        return table

    return found


def _sizes(disk: Disk) -> dict[tuple[int, int], list[str]]:
    """Files of lines in staging by how many records and bytes they hold."""
    sizes: dict[tuple[int, int], list[str]] = {}
    for name in disk.files(naming.STAGING):
        path = f"{naming.STAGING}/{name}"
        if name.endswith(_LINES):
            try:
                lengths = [len(line) + 1 for line in read_lines(disk.path(path))]
            except StorageError:  # damaged, or half written
                continue
            sizes.setdefault((len(lengths), sum(lengths)), []).append(path)
    return sizes


def _makes(disk: Disk, lines: str, table: Receipt) -> bool:
    from harvester.shards.parquet import Converter, shape_of  # an extra

    shape = shape_of(disk.path(table.path))
    for timestamps in _TIMESTAMPS:
        made: list[_Digest] = []
        converter = Converter(shape, declared=shape, timestamps=timestamps)
        converter.convert(partial(read_lines, disk.path(lines)), partial(_opened, made))
        if made[-1].digest.hexdigest() == table.sha256:
            return True
    return False


@contextmanager
def _opened(made: "list[_Digest]") -> Iterator[IO[bytes]]:
    made.append(_Digest())
    yield made[-1]  # type: ignore[misc]


class _Digest(io.RawIOBase):
    """A file of which only the SHA-256 is wanted."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        content = memoryview(block).cast("B")
        self.digest.update(content)
        self._size_bytes += len(content)
        return len(content)

    def tell(self) -> int:
        return self._size_bytes
