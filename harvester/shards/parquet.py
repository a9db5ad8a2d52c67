"""Parquet: the lines of a sealed shard become a file of columns, a pure function of the lines and of the
shape that was declared.

The shape only ever grows, from shard to shard of a partition: a field that was not known, or a value of
another kind, widens it, and what was widened is told. So the same partition has the same bytes, however often
it was begun. Row groups are cut by the bytes of their lines, which bounds the memory.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.errors import StorageError
from harvester.shapes import JSON, MOST_FIELDS, Fields, Shape, join, ordered
from harvester.shards.columns import Columns, Surprise, Timestamps
from harvester.shards.disk import plain

BLOCK_RECORDS: Final = 1000
ROW_GROUP_BYTES: Final = 16 << 20
"""Of lines; as columns about as much. With 32 MiB files are smaller by a seventieth, and a run takes 10 MiB
more of the 200 that it may take."""
_LEVEL: Final = 1
_SHAPE: Final = "harvester.shape"
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode

Lines = Callable[[], Iterable[bytes]]
"""Gives the lines of a shard, from the first, each time it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened:
    """A column that had to become another one, or a new one (`was` is None)."""

    field: str
    was: str | None
    now: str


class Converter:
    """Of one partition, whose shards it takes in order. `shape` is what it holds so far."""

    def __init__(self, shape: Shape, *, declared: Shape, timestamps: Timestamps) -> None:
        """`shape` is what is known already; columns stand in the order of `declared`, then by name."""
        self._declared = declared
        self._timestamps = timestamps
        self._shards = 0
        self.shape = shape
        self.grew_midway = False
        """Whether a shard but the first has widened the shape: those before it are in a narrower one."""

    def convert(
        self, lines: Lines, open_file: Callable[[], AbstractContextManager[IO[bytes]]]
    ) -> list[Widened]:
        """Writes the shard of `lines` into the file that `open_file` gives, an empty one for each try; tells
        what was widened for it. Raises StorageError for records that make no table."""
        before = self.shape
        while True:
            try:
                if not self.shape.members:
                    raise Surprise
                columns = Columns(self.shape, timestamps=self._timestamps)
                with open_file() as file:
                    _write(columns, self.shape, lines(), file)
            except Surprise as surprise:
                self.shape = self._wider(lines, surprise.column)
            else:
                self.grew_midway |= self._shards > 0 and self.shape != before
                self._shards += 1
                return list(_widened(before, self.shape))

    def _wider(self, lines: Lines, column: str | None) -> Shape:
        """By what stands in the whole shard; where that is no help, the column becomes text, which holds
        anything."""
        fields = Fields()
        rest = iter(lines())
        while block := list(islice(rest, BLOCK_RECORDS)):
            fields.add(block)
        wider = ordered(join(self.shape, fields.shape()), self._declared)
        if wider != self.shape:
            return wider
        if column is None:
            raise StorageError(
                f"the records have more than {MOST_FIELDS} fields, or none that a table could hold; "
                'use output.format = "jsonl"'
            )
        widest = Shape("string") if dict(wider.members)[column].kind == "timestamp" else JSON
        return Shape(
            "struct",
            members=tuple((name, widest if name == column else one) for name, one in wider.members),
        )


def _write(columns: Columns, shape: Shape, lines: Iterable[bytes], file: IO[bytes]) -> None:
    with pq.ParquetWriter(
        file,
        columns.schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=False,  # smaller and faster here: most values of a column differ
        store_schema=False,
    ) as writer:
        for group in _groups(columns, lines):
            writer.write_table(group, row_group_size=group.num_rows)
        writer.add_key_value_metadata({_SHAPE: msgspec.json.encode(shape.told()).decode()})


def _groups(columns: Columns, lines: Iterable[bytes]) -> Iterator[pa.Table]:
    blocks: list[pa.Table] = []
    size_bytes = 0
    rest = iter(lines)
    while block := list(islice(rest, BLOCK_RECORDS)):
        blocks.append(columns.table(block))
        size_bytes += sum(map(len, block))
        if size_bytes >= ROW_GROUP_BYTES:
            yield pa.concat_tables(blocks)
            blocks, size_bytes = [], 0
    if blocks:
        yield pa.concat_tables(blocks)


def _widened(before: Shape, now: Shape) -> Iterator[Widened]:
    known = dict(before.members)
    for name, shape in now.members:
        was = known.get(name)
        if was != shape:
            yield Widened(field=name, was=None if was is None else str(was), now=str(shape))


def read_lines(path: Path) -> Iterator[bytes]:
    """The records of a Parquet shard as JSON again, for those who look at records one by one. Equal values,
    not equal bytes. Raises StorageError where the file is missing or damaged."""
    try:
        with pq.ParquetFile(plain(path)) as file:
            shape = _shape_in(file)
            for batch in file.iter_batches(batch_size=BLOCK_RECORDS):
                yield from (_ENCODE(_as_sent(row, shape)) for row in batch.to_pylist())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def shape_of(path: Path) -> Shape:
    """What a Parquet shard was written in. Raises StorageError where it is missing, damaged or not ours."""
    try:
        with pq.ParquetFile(plain(path)) as file:
            return _shape_in(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _shape_in(file: pq.ParquetFile) -> Shape:
    told = (file.metadata.metadata or {}).get(_SHAPE.encode())
    if told is None:
        raise ValueError("no table of harvester's")
    return Shape.of(msgspec.json.decode(told))


def _unreadable(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path}: cannot be read ({type(error).__name__}: {error}); run harvester verify")


def _as_sent(value: Any, shape: Shape) -> Any:
    """A value of a column as JSON has it: the text of a `json` column is JSON itself."""
    if value is None:
        return None
    match shape.kind:
        case "json":
            return msgspec.Raw(value.encode())
        case "timestamp" if isinstance(value, datetime):
            unit = "seconds" if not value.microsecond else "microseconds"
            if value.microsecond and not value.microsecond % 1000:
                unit = "milliseconds"
            return value.replace(tzinfo=None).isoformat(timespec=unit) + "Z"
        case "list":
            assert shape.item is not None
            return [_as_sent(item, shape.item) for item in value]
        case "struct":
            return {name: _as_sent(value[name], one) for name, one in shape.members}
        case _:
            return value
