"""One dataset as a server holds it: rendered records in a mapped file, sorted indexes over them, and changes
on top.

Records lie in the file in the order of their date, each followed by a comma, so that a page of neighbours is
one slice that is served as it lies. An index is two parallel arrays, instants and row numbers, for any date
field. A record that is inserted or written again becomes a new row behind the others; rows never change, only
the indexes do. `generation` counts the changes: whoever remembers a selection compares it.
"""

import hashlib
import mmap
import os
import re
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

# Rendering code that changes the bytes changes this, or an old cache would be served.
LAYOUT = 2

Renderer = Callable[[Iterable[int], str], Iterator[bytes]]
Rows = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The three fields of a record that say what it is."""

    key: str = "_id"
    date: str
    version: str = "RecordWrittenAtUtc"


class Index:
    """Rows by one date field. Sorted by instant; equal instants in the order of arrival."""

    __slots__ = ("rows", "times")

    def __init__(self, times: "array[int]", rows: "array[int]") -> None:
        self.times = times
        self.rows = rows

    def between(self, low_ms: int, high_ms: int) -> "array[int]":
        """The rows with `low_ms <= t <= high_ms`."""
        return self.rows[bisect_left(self.times, low_ms) : bisect_right(self.times, high_ms)]

    def add(self, time_ms: int, row: int) -> None:
        at = bisect_right(self.times, time_ms)
        self.times.insert(at, time_ms)
        self.rows.insert(at, row)

    def remove(self, time_ms: int, row: int) -> None:
        at = self.rows.index(row, bisect_left(self.times, time_ms), bisect_right(self.times, time_ms))
        self.times.pop(at)
        self.rows.pop(at)


class Table:
    def __init__(
        self, *, fields: Fields, view: memoryview, offsets: "array[int]", times: "array[int]"
    ) -> None:
        self.fields = fields
        self.generation = 0
        self._view = view
        self._offsets = offsets  # of each rendered row, and the end
        self._added: list[bytes] = []
        self._indexes = {fields.date: Index(times, array("I", range(len(times))))}
        self._touched: set[str] = set()
        self._gone: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._indexes[self.fields.date].rows)

    def row(self, number: int) -> memoryview | bytes:
        rendered = len(self._offsets) - 1
        if number >= rendered:
            return self._added[number - rendered]
        return self._view[self._offsets[number] : self._offsets[number + 1] - 1]

    def key(self, number: int) -> str:
        """The key as text; it is the first field of every record."""
        raw = self.row(number)
        start = len(self.fields.key) + 5  # {"_id":"
        return str(raw[start : start + 36], "ascii").partition('"')[0]

    def joined(self, rows: Rows) -> list[memoryview | bytes]:
        """What stands between the brackets of a page of `rows`: one slice where they lie side by side."""
        count = len(rows)
        if not count:
            return []
        first, last = rows[0], rows[-1]
        if last - first == count - 1 and last < len(self._offsets) - 1 and _in_line(rows, first, last):
            return [self._view[self._offsets[first] : self._offsets[last + 1] - 1]]
        return [b",".join([self.row(number) for number in rows])]

    def index(self, field: str) -> Index:
        """The index over a date field; made when first asked for, rows without a date there are not in it."""
        known = self._indexes.get(field)
        if known is None:
            found = [
                (at, number)
                for number in self._indexes[self.fields.date].rows
                if (at := time_of(self.row(number), field)) is not None
            ]
            found.sort()
            times, rows = (
                (array("q", column) for column in zip(*found, strict=True)) if found else (array("q"),) * 2
            )
            known = self._indexes[field] = Index(times, array("I", rows))
        return known

    def has(self, field: str) -> bool:
        """Whether a first few records know the field (a dotted path is looked for by its last part)."""
        name = _name(field)
        rows = self._indexes[self.fields.date].rows[:50]
        return not rows or any(name in bytes(self.row(number)) for number in rows)

    def rows(self) -> "array[int]":
        """All rows there are, by date."""
        return self._indexes[self.fields.date].rows

    def empty(self) -> None:
        """Nothing is there any more, though `show` may bring it back."""
        self._indexes = {self.fields.date: Index(array("q"), array("I"))}
        self.generation += 1

    def show(self, number: int, *, noticed: bool = True) -> None:
        """Makes a row that exists be there; `noticed` whether this counts as moved."""
        raw = bytes(self.row(number))
        for field, index in self._indexes.items():
            at = time_of(raw, field)
            if at is not None:
                index.add(at, number)
        self._changed(raw, noticed)

    def insert(self, raw: bytes, *, noticed: bool = True) -> int:
        number = self.hide(raw)
        self.show(number, noticed=noticed)
        return number

    def hide(self, raw: bytes) -> int:
        """A row that no index knows, for whoever wants to serve it all the same."""
        self._added.append(raw)
        return len(self._offsets) - 2 + len(self._added)

    def delete(self, number: int, *, noticed: bool = True) -> None:
        raw = bytes(self.row(number))
        for field, index in self._indexes.items():
            at = time_of(raw, field)
            if at is not None:
                index.remove(at, number)
        if noticed:
            self._gone[number] = raw
        self._changed(raw, noticed)

    def rewrite(self, number: int, raw: bytes) -> int:
        """Replaces a row; the new one has a number of its own."""
        self.delete(number)
        return self.insert(raw)

    @property
    def touched(self) -> frozenset[str]:
        """Keys of the records that were inserted, deleted or written again since the start."""
        return frozenset(self._touched)

    def gone(self) -> list[bytes]:
        """What was deleted or written again, as it was."""
        return list(self._gone.values())

    def _changed(self, raw: bytes, noticed: bool) -> None:
        self.generation += 1
        if noticed:
            self._touched.add(raw[len(self.fields.key) + 5 :].partition(b'"')[0].decode())


def render(
    renderer: Renderer, times: "array[int]", seed: str, fields: Fields, cache: Path | None, name: str
) -> Table:
    """Renders the records of `times` into a file and maps it; with `cache`, a file that a later call finds
    again.
    """
    digest = hashlib.sha256(f"{LAYOUT}/{name}/{seed}/".encode() + times.tobytes()).hexdigest()[:16]
    data = cache / f"{name}-{digest}.json" if cache else None
    ends = cache / f"{name}-{digest}.offsets" if cache else None
    offsets = array("Q", [0])
    if data is not None and ends is not None and ends.exists():
        offsets = array("Q", ends.read_bytes())
        with data.open("rb") as file:
            return _table(file.fileno(), offsets, times, fields)
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, prefix="simulator-", delete=False) as file:
        try:
            at, parts = 0, []
            for raw in renderer(times, seed):
                at += len(raw) + 1
                offsets.append(at)
                parts.append(raw)
                if len(parts) == 1000:
                    file.write(b",".join(parts) + b",")
                    parts.clear()
            file.write(b",".join([*parts, b""]))
            file.flush()
            if data is not None and ends is not None:
                # The offsets come last: a start that finds them finds whole data.
                os.replace(file.name, data)
                ends.write_bytes(offsets.tobytes())
            return _table(file.fileno(), offsets, times, fields)
        finally:
            with suppress(FileNotFoundError):  # the cache has moved it
                os.unlink(file.name)


def _table(descriptor: int, offsets: "array[int]", times: "array[int]", fields: Fields) -> Table:
    size = offsets[-1]
    mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
    return Table(fields=fields, view=memoryview(mapped), offsets=offsets, times=array("q", times))


def time_of(raw: bytes | memoryview, field: str) -> int | None:
    """The instant in a date field, a text or Unix seconds, in milliseconds; None where it is null or
    missing.
    """
    found = _pattern(field).search(raw)
    if found is None:
        return None
    try:
        return to_ms(found[1].decode()) if found[2] is None else int(found[2]) * 1000
    except ValueError:
        return None


@cache
def _pattern(field: str) -> re.Pattern[bytes]:
    return re.compile(re.escape(_name(field)) + rb'(?:"([^"]*)"|(\d+))')


def to_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return round(moment.timestamp() * 1000)


def _name(field: str) -> bytes:
    return f'"{field.rpartition(".")[2]}":'.encode()


def _in_line(rows: Rows, first: int, last: int) -> bool:
    return isinstance(rows, array) and rows == array("I", range(first, last + 1))
