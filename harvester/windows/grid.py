"""The grid: where the local clock of a zone reaches a whole quarter hour, hour or day; the windows between.

The edges of a coarser grid are edges of each finer one. Edges are whole seconds since 1970, in runs of one
step. Pure.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Self
from zoneinfo import ZoneInfo

from harvester.windows.instants import EARLIEST, EPOCH, LATEST, SECOND, as_text, in_utc, moment_at, second_of
from harvester.windows.intervals import Span, Window
from harvester.windows.local_clock import DAY_S, midnight_of, shown_at, stretches

_HOUR_S = 3600
_DAY = timedelta(days=1)


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
    Resolution.DAY: DAY_S,
    Resolution.AUTO: DAY_S,
}


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
            end = moment_at(at)
            yield Window(start=start, end=end)
            start = end
    yield Window(start=start, end=span.end)


def count_windows(span: Span, resolution: Resolution, tz: ZoneInfo) -> int:
    """As many as `windows` gives, without making them: some milliseconds for ten years of quarter hours."""
    return 1 + sum(len(run) for run in _inner_edges(span, resolution, tz))


def floor(t: datetime, resolution: Resolution, tz: ZoneInfo) -> datetime:
    """The last edge at or before `t`."""
    return moment_at(_floor(second_of(in_utc(t)), resolution, tz))


def after(t: datetime, resolution: Resolution, tz: ZoneInfo) -> datetime:
    """The first edge after `t`, never `t` itself."""
    return moment_at(_away(second_of(in_utc(t)), 1, resolution, tz))


def relative_span(
    now: datetime, from_period: int, to_period: int, resolution: Resolution, tz: ZoneInfo
) -> Span:
    """The periods `from_period` to `to_period`, both included: 0 is the one `now` is in, -1 the one before.

    Periods are counted as `windows` cuts them: where there was no 30th, the day before the 31st is the 29th.
    """
    if from_period > to_period:
        raise ValueError(f"from_period {from_period} comes after to_period {to_period}")
    current = _floor(second_of(in_utc(now)), resolution, tz)
    start = _away(current, from_period, resolution, tz)
    end = _away(current, to_period + 1, resolution, tz)
    return Span(start=moment_at(start), end=moment_at(end))


def _edges(start: int, end: int, resolution: Resolution, tz: ZoneInfo) -> Iterator[range]:
    """All edges in start <= edge < end, in order; a run may be empty."""
    if resolution in (Resolution.DAY, Resolution.AUTO):
        return _day_edges(start, end, tz)
    return _clock_edges(start, end, _STEP_S[resolution], tz)


def _day_edges(start: int, end: int, tz: ZoneInfo) -> Iterator[range]:
    day = shown_at(moment_at(start), tz).date()
    passed = start - 1
    while (edge := second_of(midnight_of(day, tz))) < end:
        if edge > passed:  # a date that never was begins when the next one does
            yield range(edge, edge + 1)
            passed = edge
        day += _DAY


def _clock_edges(start: int, end: int, step: int, tz: ZoneInfo) -> Iterator[range]:
    before: int | None = None
    for begin, stop, offset in stretches(start - 1, end, tz):
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
    return shift % _HOUR_S != 0 or second_of(midnight_of(shown_at(moment_at(at), tz).date(), tz)) == at


def _inner_edges(span: Span, resolution: Resolution, tz: ZoneInfo) -> Iterator[range]:
    """Those in start < edge < end."""
    up_to = -((EPOCH - span.end) // SECOND)  # the end's second, rounded up
    return _edges(second_of(span.start) + 1, up_to, resolution, tz)


def _floor(at: int, resolution: Resolution, tz: ZoneInfo) -> int:
    return _away(at + 1, -1, resolution, tz)


def _away(at: int, count: int, resolution: Resolution, tz: ZoneInfo) -> int:
    """The edge that is `count` edges after `at`, or before it where negative; `at` itself for 0."""
    if count == 0:
        return at
    step = _STEP_S[resolution]
    reach = at + count * step
    if not second_of(EARLIEST) - DAY_S <= reach <= second_of(LATEST) + DAY_S:
        start = as_text(moment_at(at))
        raise ValueError(f"{count} x {resolution.value} from {start} is not within the years 2 to 9998")
    # Two steps more, for the days that are longer: a clock gains hours by going back, and but for the one
    # date that some zones repeated at the date line it goes forward again by as much.
    if count > 0:
        return [edge for run in _edges(at + 1, reach + 2 * step, resolution, tz) for edge in run][count - 1]
    return [edge for run in _edges(reach - 2 * step, at, resolution, tz) for edge in run][count]
