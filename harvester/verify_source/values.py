"""What a record says, whatever its spelling: tables keep values, so their records are compared so. Pure."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from harvester.dialects import Row
from harvester.shapes import is_timestamp


def by_value(read: Callable[[bytes], Row]) -> Callable[[bytes], Row]:
    """`read`, with the record's bytes in the one spelling that its values have."""
    return lambda line: valued(read(line))


def valued(row: Row) -> Row:
    version = datetime.fromisoformat(row[2]).isoformat() if is_timestamp(row[2]) else row[2]
    return row[0], row[1], version, canonical(bytes(row[3]))


def canonical(line: bytes) -> bytes:
    """The same for records whose values are equal: names in order, no nulls, one spelling of each number and
    of each instant."""
    value = json.loads(line, parse_float=Decimal, parse_int=Decimal)
    return json.dumps(_plain(value), sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return ["number", str(value.normalize()) if value else "0"]
    if isinstance(value, str) and is_timestamp(value):
        return datetime.fromisoformat(value).isoformat()
    return value
