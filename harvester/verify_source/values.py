"""What a record says, whatever its spelling: a source may spell the same record in two ways, `"\\u00fc"` one
day and `"ü"` the next, and tables keep values only. Pure.

In lines two records are alike where a reader of JSON takes the same from them: strings by their characters,
numbers by what they amount to (1.0 is 1.00 and 1e0, exactly and at any length), members in any order. A null
is no missing member, `true` is no 1, and a time is a string like any other.
"""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, Final

from harvester.dialects import Row
from harvester.shapes import is_timestamp


def by_value(read: Callable[[bytes], Row], spelt: Callable[[Row], Row]) -> Callable[[bytes], Row]:
    """`read`, with each row in the one spelling that its values have: `spelt` is one of the next two."""
    return lambda line: spelt(read(line))


def valued(row: Row) -> Row:
    version = datetime.fromisoformat(row[2]).isoformat() if is_timestamp(row[2]) else row[2]
    return row[0], row[1], version, canonical(bytes(row[3]))


def summed(row: Row) -> Row:
    """Of a record that is a sum over a window: its key is its text, which a table does not keep, so here it
    is its values."""
    moment, _, version, raw = valued(row)
    return moment, bytes(raw).decode(), version, raw


def canonical(line: bytes) -> bytes:
    """The same for records whose values are equal: names in order, no nulls, one spelling of each number and
    of each instant."""
    value = json.loads(line, parse_float=_number, parse_int=_number)
    return json.dumps(_plain(value), sort_keys=True).encode()


def alike(one: bytes, other: bytes) -> bool:
    """Whether two lines hold the same record."""
    try:
        return one == other or bool(_EXACTLY(one.decode()) == _EXACTLY(other.decode()))
    except (ValueError, RecursionError):
        return False


def _number(text: str) -> tuple[str, Decimal | str]:
    """A pair, which is equal to nothing else in JSON: Python takes 1 for true."""
    try:
        return "number", Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return "number", text


def _spelt(number: Decimal | str) -> str:
    if isinstance(number, str):
        return number
    if not number:
        return "0"
    exactly = Context(prec=len(number.as_tuple().digits), Emin=MIN_EMIN, Emax=MAX_EMAX)
    return str(number.normalize(exactly))


def _members(pairs: list[tuple[str, Any]]) -> Any:
    members = dict(pairs)
    return members if len(members) == len(pairs) else ("named twice", pairs)


_EXACTLY: Final = json.JSONDecoder(
    parse_float=_number, parse_int=_number, parse_constant=_number, object_pairs_hook=_members
).decode


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, tuple):
        return ["number", _spelt(value[1])]
    if isinstance(value, str) and is_timestamp(value):
        return datetime.fromisoformat(value).isoformat()
    return value
