"""The clock of a zone runs straight for days or years and then jumps. The stretches between two jumps are
found first; inside one an edge is plain arithmetic on seconds since 1970, and that makes long spans cheap.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from harvester.windows.instants import SECOND, moment_at, second_of

DAY_S: Final = 86400
_LOOK_S: Final = DAY_S
"""How far apart an offset is looked up in search of a jump. A clock that jumped there and back between two
looks would be missed; the shortest stretch in the tz database is just short of 7 days (America/Recife,
October 2000).
"""


def stretches(start: int, end: int, tz: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """The pieces of start <= t < end without a jump of the clock: (begin, end, offset to UTC), in seconds."""
    begin = seen = start
    offset = offset_at(start, tz)
    while seen < end - 1:
        look = min(seen + _LOOK_S, end - 1)
        if offset_at(look, tz) != offset:
            look = _jump(seen, look, tz)
            yield begin, look, offset
            begin, offset = look, offset_at(look, tz)
        seen = look
    yield begin, end, offset


def _jump(seen: int, look: int, tz: ZoneInfo) -> int:
    """The first second whose offset is not that of `seen`; that of `look` is not."""
    offset = offset_at(seen, tz)
    return seen + bisect_left(range(seen, look), True, key=lambda at: offset_at(at, tz) != offset)


def first_showing(reading: datetime, tz: ZoneInfo) -> datetime:
    """The first instant at which the local clock shows `reading` (naive) or later.

    Not `reading.replace(tzinfo=tz)`: in Toronto in 1919, as 23:30 became 00:30, that puts midnight at 01:00.
    """
    near = second_of(reading.replace(tzinfo=UTC))
    for begin, end, offset in stretches(near - DAY_S, near + DAY_S + 1, tz):  # offsets are less than a day
        first = max(moment_at(begin), (reading - timedelta(seconds=offset)).replace(tzinfo=UTC))
        if first < moment_at(end):
            return first
    raise AssertionError(f"{tz.key} never shows {reading}")


@lru_cache(maxsize=256)  # neighbours ask for the same midnight: the end of one day is the start of the next
def midnight_of(day: date, tz: ZoneInfo) -> datetime:
    return first_showing(datetime.combine(day, time.min), tz)


def offset_at(at: int, tz: ZoneInfo) -> int:
    moment = moment_at(at)
    return (shown_at(moment, tz) - moment.replace(tzinfo=None)) // SECOND


def shown_at(moment: datetime, tz: ZoneInfo) -> datetime:
    """What the local clock shows, naive."""
    return moment.astimezone(tz).replace(tzinfo=None)
