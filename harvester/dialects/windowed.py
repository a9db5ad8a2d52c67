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
    """The row of a line that `marked` made."""
    mark = _MARK.search(line)
    if mark is None:
        raise ValueError("no _window_start and _window_end at the end of the record")
    own = line[: mark.start()] + b"}"
    try:
        msgspec.json.decode(own, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    return datetime.fromisoformat(mark[1].decode()).astimezone(UTC), own.decode(), "", line


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
