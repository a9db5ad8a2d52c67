"""Good documents with odd values in odd places: what mutated bytes seldom reach, since they break the syntax.

An input that begins with `MARK` is no document but a list of edits: four bytes each say where, what is done
and with which value.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, Final

MARK: Final = b"\x01"
MOST_EDITS: Final = 8
_EDIT_BYTES: Final = 4
# fmt: off
ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**40, 0.5, -0.0, 1e300,
    1e16, 3600.5, "", " ", "x", "\0", "\ud800", "\x1b[2J", "a" * 300, "é", "..", "../x", "/", "/etc/passwd",
    "a.b", "a..b", ".", "{", "{start}", "{limit}", "%", "%Y", "%Y-%m-%d", "%s", "iso", "auto", "epoch_s",
    "epoch_ms", "us", "s", "none", "+0000", "UTC", "Europe/Berlin", "America/New_York", "no/zone", "/usr",
    "day", "month", "window", "date", "string", "integer", "_id", "2024-01-01", "2024-01", "dt=2024-01-01",
    "2024-13-01", "2024-02-30", "0001-01-01", "9999-12-31", "9999-12", "2024-01-01T00:00:00.000Z",
    "2024-01-02T00:00:00.000Z", "2024-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "2024-W01-1",
    "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59", "2024-01-01T24:00:00Z", "1704067200",
    "Infinity", "not asked yet", "http://127.0.0.1:9", "dt=2024-01-01/part-00000.jsonl", "0" * 64,
    "_harvest/ledger.sqlite", [], {}, [None], [[]], [""], {"": None}, {"a": {"a": []}}, [{}], [1, "x"],
    {"start": "{start}"},
)
# fmt: on


def edited(good: Any, data: bytes) -> Any:
    """A copy of `good` (JSON's values) with the edits that `data` describes."""
    root = [copy.deepcopy(good)]
    for at in range(0, min(len(data), MOST_EDITS * _EDIT_BYTES) - _EDIT_BYTES + 1, _EDIT_BYTES):
        high, low, what, which = data[at : at + _EDIT_BYTES]
        places = list(_places(root))
        holder, name = places[(high << 8 | low) % len(places)]
        odd = copy.deepcopy(ODD[which % len(ODD)])
        match what % 5:
            case 1 if holder is not root:
                del holder[name]
            case 2 if isinstance(holder, dict):
                holder[str(odd)] = holder.pop(name)
            case 3:
                other, there = places[which * 7 % len(places)]
                holder[name] = copy.deepcopy(other[there])
            case 4 if isinstance(holder, list) and holder is not root:
                holder.insert(name, copy.deepcopy(holder[name]))
            case _:
                holder[name] = odd
    return root[0]


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    for name in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, name
        if isinstance(holder[name], (dict, list)):
            yield from _places(holder[name])


def document(data: bytes, good: Any, write: Callable[[Any], str]) -> bytes:
    """`data` itself, or what its edits make of `good`."""
    if not data.startswith(MARK):
        return data
    return write(edited(good, data[1:])).encode("utf-8", "replace")


def toml(tree: Any) -> str:
    """As TOML, where it has such a thing at all; nulls are left out."""
    if not isinstance(tree, dict):
        return _toml(tree)
    return "".join(f"{json.dumps(name)} = {_toml(value)}\n" for name, value in tree.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return json.dumps(value)
