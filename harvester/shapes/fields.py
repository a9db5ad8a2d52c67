"""The fields of records, counted block by block. Pure: lines in, facts out.

A block of records is turned into columns, for to count a column's kinds at once costs a tenth of counting
value by value. What is kept of a field is a few numbers, and no more than `MOST_FIELDS` fields are kept: an
object whose names are data (an id as a name) would otherwise grow without an end.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import msgspec

from harvester.shapes import shape as shapes
from harvester.shapes.shape import JSON, NULL, Shape, join

MOST_FIELDS: Final = 10_000
"""A hundred times what an interaction has."""
MAX_DEPTH: Final = 32
"""Levels below a record that are told apart; what lies deeper is JSON."""

_ABSENT: Final = object()
_DECODE: Final = msgspec.json.Decoder(float_hook=shapes.read_number).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What was found of one field."""

    path: str
    """Names joined by dots; `[]` stands for the items of a list."""
    shape: Shape
    """The least one that holds all its values."""
    kinds: dict[str, int]
    """How many values of each kind there were, null among them."""
    present: int
    """Records (for `[]`: items, for a member: objects) that have it, be it null."""
    absent: int
    """Those that have it not."""
    first_seen: datetime | None
    """The time of the first record in which it is not null; None where it always is."""
    last_seen: datetime | None

    @property
    def null_share(self) -> float:
        """Of all places where it might stand: null or not there."""
        places = self.present + self.absent
        return (self.kinds.get("null", 0) + self.absent) / places if places else 0.0


class _Column:
    __slots__ = ("first", "items", "kinds", "last", "members", "present", "shape")

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.shape = NULL
        """Of the values that are neither objects nor lists."""
        self.present = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.members: dict[str, _Column] = {}
        """Of the objects among its values."""
        self.items: _Column | None = None
        """Of the lists among its values."""


class Fields:
    """Takes records in the order of time. `found` may be asked for at any moment."""

    def __init__(self) -> None:
        self.records = 0
        self.left_out = 0
        """Fields that are not told, since there were `MOST_FIELDS` already."""
        self._root = _Column()
        self._count = 0

    def add(self, lines: Sequence[bytes], time_of: Callable[[bytes], datetime] | None = None) -> None:
        """Counts a block of records. `time_of` is asked for two lines of each field at most; without it
        nothing is known of when a field was seen."""
        if not lines:
            return
        times: dict[int, datetime | None] = {}

        def at(index: int) -> datetime | None:
            if index not in times:
                times[index] = time_of(lines[index]) if time_of else None
            return times[index]

        self.records += len(lines)
        self._take(self._root, [_read(line) for line in lines], range(len(lines)), at, depth=0)

    def _take(
        self,
        column: _Column,
        values: Sequence[Any],
        places: Sequence[int],
        at: Callable[[int], datetime | None],
        *,
        depth: int,
    ) -> None:
        """`places` are the indices of the records that the values come from."""
        column.present += len(values)
        kinds = Counter(map(type, values))
        nulls = kinds[type(None)]
        if nulls < len(values):
            first = next(place for value, place in zip(values, places, strict=True) if value is not None)
            last = next(
                place
                for value, place in zip(reversed(values), reversed(places), strict=True)
                if value is not None
            )
            column.first = column.first or at(first)
            column.last = at(last)
        for kind, count in kinds.items():
            if kind is dict and depth < MAX_DEPTH:
                column.kinds["object"] += count
                self._open(column, values, places, at, depth)
            elif kind is list and depth < MAX_DEPTH:
                column.kinds["list"] += count
                self._unfold(column, values, places, at, depth)
            else:
                name, shape = _scalar(kind, values)
                column.kinds[name] += count
                column.shape = join(column.shape, shape)

    def _open(
        self,
        column: _Column,
        values: Sequence[Any],
        places: Sequence[int],
        at: Callable[[int], datetime | None],
        depth: int,
    ) -> None:
        if len(values) == sum(type(value) is dict for value in values):
            objects, where = values, places
        else:
            pairs = [pair for pair in zip(values, places, strict=True) if type(pair[0]) is dict]
            objects, where = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for name in dict.fromkeys(chain.from_iterable(objects)):
            member = column.members.get(name) or self._new()
            if member is None:
                continue
            column.members[name] = member
            inner = [one.get(name, _ABSENT) for one in objects]
            if _ABSENT in inner:
                pairs = [pair for pair in zip(inner, where, strict=True) if pair[0] is not _ABSENT]
                inner = [pair[0] for pair in pairs]
                self._take(member, inner, [pair[1] for pair in pairs], at, depth=depth + 1)
            else:
                self._take(member, inner, where, at, depth=depth + 1)

    def _unfold(
        self,
        column: _Column,
        values: Sequence[Any],
        places: Sequence[int],
        at: Callable[[int], datetime | None],
        depth: int,
    ) -> None:
        pairs = [
            (item, place)
            for value, place in zip(values, places, strict=True)
            if type(value) is list
            for item in value
        ]
        if pairs and column.items is None:
            column.items = self._new()
        if pairs and column.items is not None:
            items, where = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            self._take(column.items, items, where, at, depth=depth + 1)

    def _new(self) -> _Column | None:
        """None where there are `MOST_FIELDS` already."""
        if self._count >= MOST_FIELDS:
            self.left_out += 1
            return None
        self._count += 1
        return _Column()

    def found(self) -> list[Field]:
        """Every field, each before its members, in the order in which they were first seen."""
        return list(_told(self._root, ""))

    def shape(self) -> Shape:
        """Of the records as a whole."""
        return _shape(self._root)


def _read(line: bytes) -> Any:
    try:
        return _DECODE(line)
    except msgspec.MsgspecError:  # a whole number of 5,000 digits is JSON all the same
        return json.loads(line, parse_int=Decimal, parse_float=shapes.read_number)


def _scalar(kind: type, values: Sequence[Any]) -> tuple[str, Shape]:
    """What the values of one type are called, and the shape that holds them."""
    if kind is type(None):
        return "null", NULL
    if kind is bool:
        return "boolean", Shape("boolean")
    if kind is float:
        return "number", Shape("number")
    if kind is str:
        texts = {value for value in values if type(value) is str}
        is_time = all(map(shapes.is_timestamp, texts))
        return "string", Shape("timestamp" if is_time else "string")
    if kind is int:
        whole = [value for value in values if type(value) is int]
        return "integer", shapes.of_whole(min(whole), max(whole))
    if kind is Decimal:
        exact = [shapes.of_exact(value) for value in values if type(value) is Decimal]
        return "decimal", shapes.joined(exact)
    return "object" if kind is dict else "list", JSON


def _shape(column: _Column) -> Shape:
    shape = column.shape
    if column.kinds["object"] and column.members:
        members = tuple((name, _shape(one)) for name, one in column.members.items())
        shape = join(shape, Shape("struct", members=members))
    elif column.kinds["object"]:
        shape = JSON  # objects with nothing in them, so far: no column has a struct without members
    if column.kinds["list"]:
        shape = join(shape, Shape("list", item=_shape(column.items) if column.items else NULL))
    return shape


def _told(column: _Column, path: str) -> Iterator[Field]:
    for name, member in column.members.items():
        escaped = name.replace(".", "\\.")
        yield from _told_one(member, f"{path}.{escaped}" if path else escaped, column.kinds["object"])
    if column.items is not None:
        yield from _told_one(column.items, f"{path}[]", column.items.present)


def _told_one(column: _Column, path: str, places: int) -> Iterator[Field]:
    yield Field(
        path=path,
        shape=_shape(column),
        kinds=dict(sorted(column.kinds.items())),
        present=column.present,
        absent=places - column.present,
        first_seen=column.first,
        last_seen=column.last,
    )
    yield from _told(column, path)
