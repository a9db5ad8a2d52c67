"""Partitions: the local days or months that records are filed under. Pure."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from harvester.windows.instants import in_utc
from harvester.windows.intervals import Partition, Span
from harvester.windows.local_clock import midnight_of, shown_at
from harvester.windows.zones import parse_time

By = Literal["day", "month"]

_DAY = timedelta(days=1)


def partition_of(t: datetime, by: By, tz: ZoneInfo) -> Partition:
    """The partition that `t` falls into.

    A date begins when the local clock first reaches it, and ends where the next begins. So where a clock went
    back over midnight (St. John's until 2011, from 00:01 to 23:01) the 59 minutes that it showed once more
    belong to the date that had begun.
    """
    moment = in_utc(t)
    first, following = _dates(shown_at(moment, tz).date(), by)
    while midnight_of(following, tz) <= moment:
        first, following = _dates(following, by)
    name = first.isoformat() if by == "day" else first.isoformat()[:7]
    return Partition(name=name, start=midnight_of(first, tz), end=midnight_of(following, tz))


def partition_named(name: str, by: By, tz: ZoneInfo) -> Partition:
    """The partition that is called `2024-01-01`, or `2024-01`."""
    return partition_of(parse_time(name if by == "day" else f"{name}-01", tz), by, tz)


def partitions(span: Span, by: By, tz: ZoneInfo) -> Iterator[Partition]:
    """Those that `span` touches, in order and whole; dates that never were are not among them."""
    partition = partition_of(span.start, by, tz)
    yield partition
    while partition.end < span.end:
        partition = partition_of(partition.end, by, tz)
        yield partition


def _dates(day: date, by: By) -> tuple[date, date]:
    """The first date of the day or month that holds `day`, and of the one that follows it."""
    if by == "day":
        return day, day + _DAY
    first = day.replace(day=1)
    return first, (first + 31 * _DAY).replace(day=1)
