"""Spans of time, the windows that tile them, the partitions that records are filed under, and their zones.

Every interval here is half-open, start <= t < end, and held in UTC. Edges are where the local clock of the
job's zone reaches a whole quarter hour, hour, day or month. The edges of a coarser grid are edges of each
finer one: so no window crosses the edge of a partition. Pure: it reads no clock, and no files but the tz
database (the system's, else the package tzdata).

The clock of a zone runs straight for days or years and then jumps. The stretches between two jumps are found
first; inside one an edge is plain arithmetic on seconds since 1970, and that makes long spans cheap.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

By = Literal["day", "month"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_HOUR_S = 3600
_DAY_S = 86400

# A year of room at both ends of datetime's range, for the edges and partitions around any time in any zone.
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)

# How far apart an offset is looked up in search of a jump. A clock that jumped there and back between two
# looks would be missed; the shortest stretch in the tz database is just short of 7 days (America/Recife,
# October 2000).
_LOOK_S = _DAY_S


class Resolution(Enum):
    QUARTER_HOUR = "QuarterHour"
    HOUR = "Hour"
    DAY = "Day"
    AUTO = "Auto"
    """Windows as long as their records make them. No period of the API's; where edges are needed, days."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`text` as the API spells it; ValueError names the known ones."""
        for resolution in cls:
            if resolution.value == text:
                return resolution
        known = ", ".join(resolution.value for resolution in cls)
        raise ValueError(f"resolution {text!r} is not known; known are {known}")


_STEP_S = {
    Resolution.QUARTER_HOUR: 900,
    Resolution.HOUR: _HOUR_S,
    Resolution.DAY: _DAY_S,
    Resolution.AUTO: _DAY_S,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Interval:
    """Half-open. Takes any aware times, holds them in UTC; ValueError for naive ones or an empty interval."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC:
            object.__setattr__(self, "start", _utc(self.start))
        if self.end.tzinfo is not UTC:
            object.__setattr__(self, "end", _utc(self.end))
        if not self.start < self.end:
            raise ValueError(f"the start {_text(self.start)} is not before the end {_text(self.end)}")
        if self.start < _EARLIEST or self.end > _LATEST:
            raise ValueError(f"{_text(self.start)} to {_text(self.end)} is not within the years 2 to 9998")

    def contains(self, t: datetime) -> bool:
        return self.start <= t < self.end


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span(_Interval):
    """What a job asks for; any length."""

    def overlap(self, other: "Span") -> "Span | None":
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start=start, end=end) if start < end else None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window(_Interval):
    """What is asked and sealed as one; lies within one partition."""

    def halves(self) -> "tuple[Window, Window]":
        """Cut in the middle, at a whole millisecond, as record times are; ValueError below 2 ms."""
        length = self.end - self.start
        if length < 2 * _MILLISECOND:
            raise ValueError(f"the window at {_text(self.start)} is too short to be cut: under 2 ms")
        middle = self.start + length / 2
        cut = middle - (middle - _EPOCH) % _MILLISECOND
        return Window(start=self.start, end=cut), Window(start=cut, end=self.end)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Partition(_Interval):
    """A local day or month, `name` "2024-01-01" or "2024-01"; ordered by time."""

    name: str


# Zones and times as people write them


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; ValueError names the nearest known one.

    Only what zoneinfo lists: no "right/..." (leap seconds); and no "localtime", another zone on each machine.
    """
    if not name.startswith(("right/", "posix/")) and name not in ("localtime", "posixrules"):
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            pass  # listing all zones reads some 600 files: only for the hint
    names = available_timezones() - {"localtime"}
    folded = {known.casefold(): known for known in sorted(names)}
    city = [whole for whole in folded if whole.endswith("/" + name.casefold())]
    near = city or get_close_matches(name.casefold(), folded, n=1, cutoff=0.86)  # less, and CEST becomes EST
    hint = f"did you mean {folded[near[0]]}?" if near else "use an IANA name such as Europe/Berlin"
    raise ValueError(f"time zone {name!r} is not known; {hint}")


_WRITE = "write 2024-01-01T00:00:00Z, or a date such as 2024-01-01"
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,3}(?P<beyond_ms>[0-9]*))?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def parse_time(value: str | date | datetime, tz: ZoneInfo) -> datetime:
    """An ISO 8601 text, a date or a datetime, as an instant in UTC; ValueError for all else and below 1 ms.

    What carries no offset is read on the clock of `tz`, a date alone as its midnight. A reading that the
    clock skips is the instant of the jump, one that it shows twice is the first: a date is where its
    partition starts.
    """
    written = value
    if isinstance(value, str):
        value = _read_iso(value)
    if isinstance(value, datetime):
        if value.microsecond % 1000:
            raise ValueError(f"{str(written)!r} is finer than a millisecond, the unit that record times have")
    elif isinstance(value, date):
        value = datetime.combine(value, time.min)
    else:
        raise ValueError(f"{written!r} is no time; {_WRITE}")
    if value.tzinfo is not None:
        return _utc(value)
    if not _EARLIEST <= value.replace(tzinfo=UTC) <= _LATEST:
        raise ValueError(f"{str(written)!r} is not within the years 2 to 9998")
    if value.fold and _reading(value.replace(tzinfo=tz).astimezone(UTC), tz) == value:
        return value.replace(tzinfo=tz).astimezone(UTC)
    return _first_showing(value, tz)


def _read_iso(text: str) -> datetime:
    """fromisoformat alone takes any separator and drops digits beyond the sixth without a word."""
    shape = _ISO.fullmatch(text)
    if shape is None:
        raise ValueError(f"{text!r} is no ISO 8601 time; {_WRITE}")
    if (shape["beyond_ms"] or "").strip("0"):
        raise ValueError(f"{text!r} is finer than a millisecond, the unit that record times have")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: {error}") from None


# Windows


def windows(span: Span, resolution: Resolution, tz: ZoneInfo) -> Iterator[Window]:
    """Tile `span`, in order: no gap, no overlap; the span cuts the first and the last window.

    Edges stand where the local clock shows a whole quarter hour or hour, and for days where it first reaches
    a date. An hour that the clock repeats is two windows. A local day has 23, 24 or 25 hours, up to 48 where
    a zone moved across the date line; a date that never was has no window.

    Where a jump of the clock is not by whole hours (half an hour on Lord Howe, minutes and seconds where
    local mean time ended), or skips a midnight, the jump itself is an edge of quarter hours and hours. These
    are never longer than 15 and 60 minutes, and beside such a jump they are shorter. Any other jump adds
    none.
    """
    start = span.start
    for run in _inner_edges(span, resolution, tz):
        for at in run:
            end = _moment(at)
            yield Window(start=start, end=end)
            start = end
    yield Window(start=start, end=span.end)


def count_windows(span: Span, resolution: Resolution, tz: ZoneInfo) -> int:
    """As many as `windows` gives, without making them: some milliseconds for ten years of quarter hours."""
    return 1 + sum(len(run) for run in _inner_edges(span, resolution, tz))


def floor(t: datetime, resolution: Resolution, tz: ZoneInfo) -> datetime:
    """The last edge at or before `t`."""
    return _moment(_floor(_second(_utc(t)), resolution, tz))


def after(t: datetime, resolution: Resolution, tz: ZoneInfo) -> datetime:
    """The first edge after `t`, never `t` itself."""
    return _moment(_away(_second(_utc(t)), 1, resolution, tz))


def relative_span(
    now: datetime, from_period: int, to_period: int, resolution: Resolution, tz: ZoneInfo
) -> Span:
    """The periods `from_period` to `to_period`, both included: 0 is the one `now` is in, -1 the one before.

    Periods are counted as `windows` cuts them: where there was no 30th, the day before the 31st is the 29th.
    """
    if from_period > to_period:
        raise ValueError(f"from_period {from_period} comes after to_period {to_period}")
    current = _floor(_second(_utc(now)), resolution, tz)
    start = _away(current, from_period, resolution, tz)
    end = _away(current, to_period + 1, resolution, tz)
    return Span(start=_moment(start), end=_moment(end))


# Partitions


def partition_of(t: datetime, by: By, tz: ZoneInfo) -> Partition:
    """The partition that `t` falls into.

    A date begins when the local clock first reaches it, and ends where the next begins. So where a clock went
    back over midnight (St. John's until 2011, from 00:01 to 23:01) the 59 minutes that it showed once more
    belong to the date that had begun.
    """
    moment = _utc(t)
    first, following = _dates(_reading(moment, tz).date(), by)
    while _midnight(following, tz) <= moment:
        first, following = _dates(following, by)
    name = first.isoformat() if by == "day" else first.isoformat()[:7]
    return Partition(name=name, start=_midnight(first, tz), end=_midnight(following, tz))


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


# Sets of spans


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same times in the fewest spans, in order: those that overlap or touch are one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            span = Span(start=merged[-1].start, end=max(merged.pop().end, span.end))
        merged.append(span)
    return merged


def subtract(span: Span, covered: Iterable[Span]) -> list[Span]:
    """What is left of `span`, in order; `covered` may come in any order and overlap."""
    left: list[Span] = []
    start = span.start
    for cover in merge(covered):
        if cover.end <= start:
            continue
        if cover.start >= span.end:
            break
        if start < cover.start:
            left.append(Span(start=start, end=cover.start))
        start = cover.end
    if start < span.end:
        left.append(Span(start=start, end=span.end))
    return left


# The grid: edges as whole seconds since 1970, in runs of one step


def _edges(start: int, end: int, resolution: Resolution, tz: ZoneInfo) -> Iterator[range]:
    """All edges in start <= edge < end, in order; a run may be empty."""
    if resolution in (Resolution.DAY, Resolution.AUTO):
        return _day_edges(start, end, tz)
    return _clock_edges(start, end, _STEP_S[resolution], tz)


def _day_edges(start: int, end: int, tz: ZoneInfo) -> Iterator[range]:
    day = _reading(_moment(start), tz).date()
    passed = start - 1
    while (edge := _second(_midnight(day, tz))) < end:
        if edge > passed:  # a date that never was begins when the next one does
            yield range(edge, edge + 1)
            passed = edge
        day += _DAY


def _clock_edges(start: int, end: int, step: int, tz: ZoneInfo) -> Iterator[range]:
    before: int | None = None
    for begin, stop, offset in _stretches(start - 1, end, tz):
        if before is not None and _jump_is_edge(begin, offset - before, tz):
            yield range(begin, begin + 1)
            begin += 1
        begin = max(begin, start)
        yield range(begin + -(begin + offset) % step, stop, step)
        before = offset


def _jump_is_edge(at: int, shift: int, tz: ZoneInfo) -> bool:
    """Does the jump at `at` end a window, wherever it falls in the hour?

    shift is not by whole hours     the grid itself moves; else a window could be longer than its step
    the jump skips a midnight       a date begins here, and with it a partition (Toronto 1919: 23:30 to 00:30)
    any other                       the grid runs on, in UTC, as if nothing had happened

    Quarter hours ask for whole hours too: so they have every edge that hours have.
    """
    return shift % _HOUR_S != 0 or _second(_midnight(_reading(_moment(at), tz).date(), tz)) == at


def _inner_edges(span: Span, resolution: Resolution, tz: ZoneInfo) -> Iterator[range]:
    """Those in start < edge < end."""
    up_to = -((_EPOCH - span.end) // _SECOND)  # the end's second, rounded up
    return _edges(_second(span.start) + 1, up_to, resolution, tz)


def _floor(at: int, resolution: Resolution, tz: ZoneInfo) -> int:
    return _away(at + 1, -1, resolution, tz)


def _away(at: int, count: int, resolution: Resolution, tz: ZoneInfo) -> int:
    """The edge that is `count` edges after `at`, or before it where negative; `at` itself for 0."""
    if count == 0:
        return at
    step = _STEP_S[resolution]
    reach = at + count * step
    if not _second(_EARLIEST) - _DAY_S <= reach <= _second(_LATEST) + _DAY_S:
        start = _text(_moment(at))
        raise ValueError(f"{count} x {resolution.value} from {start} is not within the years 2 to 9998")
    # Two steps more, for the days that are longer: a clock gains hours by going back, and but for the one
    # date that some zones repeated at the date line it goes forward again by as much.
    if count > 0:
        return [edge for run in _edges(at + 1, reach + 2 * step, resolution, tz) for edge in run][count - 1]
    return [edge for run in _edges(reach - 2 * step, at, resolution, tz) for edge in run][count]


# The clock of a zone


def _stretches(start: int, end: int, tz: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """The pieces of start <= t < end without a jump of the clock: (begin, end, offset to UTC), in seconds."""
    begin = seen = start
    offset = _offset(start, tz)
    while seen < end - 1:
        look = min(seen + _LOOK_S, end - 1)
        if _offset(look, tz) != offset:
            look = _jump(seen, look, tz)
            yield begin, look, offset
            begin, offset = look, _offset(look, tz)
        seen = look
    yield begin, end, offset


def _jump(seen: int, look: int, tz: ZoneInfo) -> int:
    """The first second whose offset is not that of `seen`; that of `look` is not."""
    offset = _offset(seen, tz)
    return seen + bisect_left(range(seen, look), True, key=lambda at: _offset(at, tz) != offset)


def _first_showing(reading: datetime, tz: ZoneInfo) -> datetime:
    """The first instant at which the local clock shows `reading` (naive) or later.

    Not `reading.replace(tzinfo=tz)`: in Toronto in 1919, as 23:30 became 00:30, that puts midnight at 01:00.
    """
    near = _second(reading.replace(tzinfo=UTC))
    for begin, end, offset in _stretches(near - _DAY_S, near + _DAY_S + 1, tz):  # offsets are less than a day
        first = max(_moment(begin), (reading - timedelta(seconds=offset)).replace(tzinfo=UTC))
        if first < _moment(end):
            return first
    raise AssertionError(f"{tz.key} never shows {reading}")


@lru_cache(maxsize=256)  # neighbours ask for the same midnight: the end of one day is the start of the next
def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return _first_showing(datetime.combine(day, time.min), tz)


def _offset(at: int, tz: ZoneInfo) -> int:
    moment = _moment(at)
    return (_reading(moment, tz) - moment.replace(tzinfo=None)) // _SECOND


def _reading(moment: datetime, tz: ZoneInfo) -> datetime:
    """What the local clock shows, naive."""
    return moment.astimezone(tz).replace(tzinfo=None)


def _second(moment: datetime) -> int:
    """Seconds since 1970, rounded down."""
    return (moment - _EPOCH) // _SECOND


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(seconds=at)


def _utc(t: datetime) -> datetime:
    if t.tzinfo is None:
        raise ValueError(f"{_text(t)} has no time zone")
    try:
        moment = t.astimezone(UTC)
    except OverflowError:
        moment = t.replace(tzinfo=UTC)  # within a day of datetime's ends, and so refused below
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError(f"{_text(moment)} is not within the years 2 to 9998")
    return moment


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
