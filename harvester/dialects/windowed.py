"""Records that belong to the window asked for: aggregates without a key and a date of their own.

The window is written into the record as its last two members, the only change that is ever made to one, and
can be taken out again without a trace. What is left is the record's key: equal records of one window are one.
"""

import re
from datetime import UTC, datetime

import msgspec

from harvester.dialects.values import Ask, Row

MARKS = ("_window_start", "_window_end")
_MARK = re.compile(rb',?"_window_start":"([0-9T:.Z-]+)","_window_end":"[0-9T:.Z-]+"\}\Z')


def marked(raw: bytes, ask: Ask) -> Row:
    """The row of a record of the window that `ask` asks for; `raw` is valid JSON. ValueError where it is no
    object."""
    if raw[:1] != b"{":
        raise ValueError("not an object")
    comma = "," if raw[1:-1].strip() else ""
    mark = f'{comma}"_window_start":"{_text(ask.start)}","_window_end":"{_text(ask.end)}"}}'
    return ask.start.astimezone(UTC), raw.decode(), "", raw[:-1] + mark.encode()


def unmarked(line: bytes) -> Row:
    """The row of a line that `marked` made, or of one that a table gave back: there the members stand in the
    order of the columns, and what is left of them is the key all the same."""
    mark = _MARK.search(line)
    if mark is None:
        return _from_a_table(line)
    own = line[: mark.start()] + b"}"
    try:
        msgspec.json.decode(own, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    return datetime.fromisoformat(mark[1].decode()).astimezone(UTC), own.decode(), "", line


def _from_a_table(line: bytes) -> Row:
    try:
        members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        start, _ = (msgspec.json.decode(members.pop(name), type=datetime) for name in MARKS)
    except KeyError as error:
        raise ValueError(f"no {error.args[0]} in the record") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no record of a window: {error}") from None
    if start.tzinfo is None:
        raise ValueError(f"{MARKS[0]} has no time zone")
    return start.astimezone(UTC), msgspec.json.encode(members).decode(), "", line


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
