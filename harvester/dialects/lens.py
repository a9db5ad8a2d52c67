"""Reads the few fields of a record that the harvest needs, and nothing else, in one pass of msgspec over a
whole page; with them what the envelope tells.

Structs are made for the declared paths. msgspec takes the last of two members with one name without a word,
which would file a record under the wrong key or date; so every value of a needed field is counted as it comes
by, and one too many is an error.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import count
from operator import attrgetter
from types import GenericAlias
from typing import Any, Final

import msgspec
from msgspec import UNSET

from harvester.dialects.schema import Record, names_of
from harvester.dialects.times import kind_of, times_reader
from harvester.dialects.values import Key, Raw, Row

Path = tuple[str, ...]
_Decoded = Callable[[bytes, Any], tuple[Any, int]]
_Columns = tuple[list[datetime], list[Key], list[str]]

_TYPES: Final = {"string": str, "integer": int}
_NAMES: Final = {"string": "text", "integer": "a whole number"}


class _Twice(ValueError):
    pass


_PASSED: Final = count(1)


class _AnyInstance(type):
    __instancecheck__ = partial(next, _PASSED)  # a number above 0 is a yes


class _Seen(metaclass=_AnyInstance):
    """The type of a needed field. msgspec gives each value of a type that it does not know to a hook, and
    asks of what comes back whether it is an instance. The question counts the values. Hook and count are
    functions of C: written in Python they were a sixth of what it costs to read a page.
    """


_NO_TYPE: Final[dict[type, object]] = {}
_as_it_is: Final = _NO_TYPE.get  # the other argument


def nested(leaves: Mapping[Path, tuple[Any, bool]]) -> tuple[Any, dict[Path, str]]:
    """A type for JSON with `leaves` (path: type, whether it must be there), and the attribute that each path
    became."""
    if () in leaves:
        return leaves[()][0], {(): ""}
    fields: list[tuple[str, Any, Any]] = []
    attributes: dict[Path, str] = {}
    for name in dict.fromkeys(path[0] for path in leaves):
        below = {path[1:]: leaf for path, leaf in leaves.items() if path[0] == name}
        kind, inner = nested(below)
        own = f"f{len(fields)}"
        is_needed = any(needed for _, needed in below.values())
        if not is_needed and () not in below:
            kind |= None
        extra = {} if is_needed else {"default": UNSET}
        fields.append((own, kind, msgspec.field(name=name, **extra)))
        attributes |= {(name, *path): f"{own}.{rest}" if rest else own for path, rest in inner.items()}
    return msgspec.defstruct("Nested", fields, kw_only=True, gc=False), attributes


def dig(value: Any, attribute: str) -> Any:
    """The value of a dotted attribute, UNSET where it or anything on the way to it is missing or null."""
    for name in attribute.split(".") if attribute else ():
        value = getattr(value, name, UNSET)
    return value


class RecordReader:
    """Of one [record], the path to the list of records, and the path to what tells success, if any. Every
    method may raise what msgspec raises, or ValueError."""

    def __init__(self, record: Record, records: Path, success: Path | None) -> None:
        self._keys, self._when = record.keys, record.when
        needed = [names_of(one.path) for one in self._keys]
        date = names_of(self._when.path)
        version = names_of(record.version) if record.version else None
        leaves = dict.fromkeys([*needed, date], (_Seen, True))
        self._needed = len(leaves)
        self._is_version_extra = version is not None and version not in leaves
        if version:
            leaves.setdefault(version, (_Seen, False))
        self._kind, attributes = nested(leaves)
        page: dict[Path, tuple[Any, bool]] = {records: (GenericAlias(list, self._kind), True)}
        if success is not None:
            page[success] = (_Seen, False)
        self._page_kind, where = nested(page)
        self._records = where[records]
        self._told = where[success] if success is not None else ""
        self._keys_of = attrgetter(*(attributes[path] for path in needed))
        self._date_of = attrgetter(attributes[date])
        self._versions_of = _getter(attributes[version]) if version else None
        self._times_of = times_reader(self._when)

    def all(self, body: bytes, raws: Callable[[int], list[Raw]]) -> tuple[list[Row], Any]:
        """The rows of a page, and what its envelope tells of success. `raws` gives the bytes of so many
        records."""
        try:
            smalls, columns, told = self._page(body, _at_a_glance)
        except _Twice:
            smalls, columns, told = self._page(body, _exactly)
        return list(zip(*columns, raws(len(smalls)), strict=True)), told

    def _page(self, body: bytes, decoded: _Decoded) -> tuple[list[Any], _Columns, Any]:
        read, seen = decoded(body, self._page_kind)
        smalls = dig(read, self._records)
        told = dig(read, self._told) if self._told else UNSET
        return smalls, self._columns(smalls, seen - (told is not UNSET)), told

    def one(self, raw: bytes) -> Row:
        small, seen = _exactly(raw, self._kind)
        ((time,), (key,), (version,)) = self._columns([small], seen)
        return time, key, version, raw

    def _columns(self, smalls: list[Any], seen: int) -> _Columns:
        """Times, keys and versions."""
        versions = self._versions_of(smalls) if self._versions_of else None
        expected = len(smalls) * self._needed
        if versions is not None and self._is_version_extra:
            expected += len(versions) - versions.count(UNSET)
        if seen != expected:
            raise _Twice("a field that tells key, date, version or success is there twice")
        times = self._times_of(list(map(self._date_of, smalls)))
        texts = [""] * len(smalls) if versions is None else _texts(versions)
        return times, self._checked(list(map(self._keys_of, smalls))), texts

    def _checked(self, keys: list[Key]) -> list[Key]:
        columns = zip(*keys, strict=True) if len(self._keys) > 1 else [keys]
        for column, declared in zip(columns, self._keys, strict=False):  # no keys: no columns
            if set(map(type, column)) - {_TYPES[declared.type]}:
                wrong = next(key for key in column if type(key) is not _TYPES[declared.type])
                raise ValueError(f"{declared.path} is {kind_of(wrong)}, not {_NAMES[declared.type]}")
            if declared.type == "string" and "" in column:
                raise ValueError(f"{declared.path} is empty")
        return keys


def _at_a_glance(text: bytes, kind: Any) -> tuple[Any, int]:
    """What `text` holds, and how many values of needed fields came by: never too few, but too many where
    another thread reads meanwhile."""
    before = next(_PASSED)
    read = msgspec.json.decode(text, type=kind, dec_hook=_as_it_is)
    return read, next(_PASSED) - before - 1


def _exactly(text: bytes, kind: Any) -> tuple[Any, int]:
    """The same, and exact, for twice the price."""
    seen: list[object] = []

    def hook(kind: type, value: object) -> object:
        seen.append(value)
        return value

    return msgspec.json.decode(text, type=kind, dec_hook=hook), len(seen)


def _getter(attribute: str) -> Callable[[list[Any]], list[Any]]:
    if "." in attribute:
        return lambda smalls: [dig(small, attribute) for small in smalls]
    return lambda smalls: list(map(attrgetter(attribute), smalls))


def _texts(versions: list[Any]) -> list[str]:
    if set(map(type, versions)) <= {str}:
        return versions
    return [version if type(version) is str else _text(version) for version in versions]


def _text(version: object) -> str:
    if version is None or version is UNSET:
        return ""
    if type(version) is int or type(version) is float:
        return str(version)
    raise ValueError(f"the version is {kind_of(version)}, not text or a number")
