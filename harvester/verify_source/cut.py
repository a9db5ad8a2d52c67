"""Which windows are asked again, and what the output holds of each. Pure.

The output is ordered by time, so one reading of its records from first to last fills one window after the
other: what is held is one window, whatever the length of the span.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

from harvester import windows
from harvester.dialects import Dialect, Key, Row
from harvester.windows import Resolution, Span, Window

Entry = tuple[datetime, str, bytes]
"""A record's time, its version and its bytes."""

CELL: Final = timedelta(days=1)
"""The longest window: a quiet year costs 365 requests."""
SAMPLED_CELL: Final = timedelta(hours=1)
"""What a sample draws: short, so that a small share of a span still is many places of it."""
SHIFT: Final = timedelta(minutes=17, seconds=23, milliseconds=457)
"""Edges stand so far behind midnight, and so beside every edge that a run may have had."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cells(spans: Iterable[Span], length: timedelta) -> Iterator[Window]:
    """Tiles each span; edges stand at whole multiples of `length`, and `SHIFT` behind them."""
    for span in spans:
        start = span.start
        while start < span.end:
            edge = start + length - (start - _EPOCH - SHIFT) % length
            end = min(edge, span.end)
            yield Window(start=start, end=end)
            start = end


def periods(spans: Iterable[Span], resolution: Resolution, tz: ZoneInfo) -> Iterator[Window]:
    """For sums over whole periods, which can be asked in no other cut."""
    for span in spans:
        yield from windows.windows(span, resolution, tz)


def sampled(found: list[Window], share: float, seed: int) -> list[Window]:
    """`share` of them (0 < share <= 1), at least one, in order; the same for the same seed."""
    if share >= 1 or not found:
        return found
    chosen = random.Random(seed).sample(range(len(found)), max(1, ceil(share * len(found))))
    return [found[number] for number in sorted(chosen)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A window, and what the output holds of it."""

    window: Window
    here: dict[Key, Entry]


def cuts(rows: Iterable[Row], asked: Iterable[Window], *, most_records: int | None) -> Iterator[Cut]:
    """Reads `rows` (ordered by time) once; a window with more than `most_records` is cut where another
    instant begins. Rows outside of `asked` are passed over, and rows that stand behind later ones too: they
    are missing where they belong.
    """
    reading = iter(rows)
    row = next(reading, None)
    for cell in asked:
        while row is not None and row[0] < cell.start:
            row = next(reading, None)
        start, last = cell.start, cell.start
        here: dict[Key, Entry] = {}
        while row is not None and row[0] < cell.end:
            if most_records is not None and len(here) >= most_records and row[0] > last:
                yield Cut(window=Window(start=start, end=row[0]), here=here)
                start, here = row[0], {}
            if row[0] >= start:
                here[row[1]] = entry(row)
                last = max(last, row[0])
            row = next(reading, None)
        yield Cut(window=Window(start=start, end=cell.end), here=here)


def entry(row: Row) -> Entry:
    return row[0], row[2], bytes(row[3])


def other_page_size(page_size: int, most: int | None) -> int:
    """Smaller by a quarter; where that cannot be, larger by one if the dialect allows it."""
    if page_size >= 4:
        return page_size * 3 // 4
    return min(page_size + 1, most or page_size + 1)


def other_order(dialect: Dialect) -> str | None:
    """By date where the run asked by something else, by key where it asked by date; None where the source is
    not told any order, or has no key of one field."""
    if dialect.order_by is None or dialect.date_field is None:
        return None
    if dialect.order_by != dialect.date_field:
        return dialect.date_field
    return dialect.key_fields[0] if len(dialect.key_fields) == 1 else None
