"""Where to measure: how far a range may reach, how large a page may be, and a busy stretch that fits a page.

Coarse to fine: the whole span, eight parts of it, then halves of the busiest until a page holds all of one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from harvester.contract import Fact
from harvester.dialects import Row
from harvester.errors import Rejected, ServerFailed, SourceError, Throttled, TimedOut
from harvester.probe import judge
from harvester.probe.asker import Asker
from harvester.windows import Span

LADDER: Final = (10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 1)
"""Sizes of pages, as people choose caps."""
LADDER_BYTES: Final = 32 << 20
"""What one page of the ladder may weigh, by what a record was seen to weigh."""
PLACE_MOST: Final = 1_000
"""Records that the measurements work with; each asks for most of them again."""
PARTS: Final = 8
HALVINGS: Final = 16
REACHES: Final = (timedelta(days=7), timedelta(days=1), timedelta(hours=1))
"""Tried where the whole span is refused."""
_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A stretch, and all of its records, as the order of the job gives them."""

    span: Span
    rows: list[Row]
    top: int
    """A page of so many is served."""


async def reach(asker: Asker, span: Span) -> timedelta:
    """The longest range that the source answers. The first request of all: what it raises is about access."""
    lengths = [span.end - span.start, *(one for one in REACHES if one < span.end - span.start)]
    for length in lengths[:-1]:
        try:
            await asker.page(span.start, span.start + length, limit=1)
        except (Rejected, ServerFailed, TimedOut) as error:
            if isinstance(error, Throttled):
                raise
        else:
            return length
    await asker.page(span.start, span.start + lengths[-1], limit=1)
    return lengths[-1]


async def busy(asker: Asker, span: Span, length: timedelta) -> Span | None:
    """The whole span where it may be asked at once and has a record, else the first of its parts that has."""
    if length == span.end - span.start:
        return span if (await asker.page(span.start, span.end, limit=1)).rows else None
    for part in parts(span, length):
        if (await asker.page(part.start, part.end, limit=1)).rows:
            return part
    return None


def parts(span: Span, length: timedelta) -> list[Span]:
    """Eight stretches, evenly over the span, of a whole eighth or of `length` where that is shorter."""
    step = (span.end - span.start) / PARTS // _MS * _MS
    if step < _MS:
        return [span]
    found = [
        Span(start=span.start + number * step, end=span.start + number * step + min(step, length))
        for number in range(PARTS)
    ]
    if length >= step:  # what the division left over belongs to the last
        found[-1] = Span(start=found[-1].start, end=span.end)
    return found


async def ladder(asker: Asker, span: Span) -> list[Fact]:
    """The largest page. The last Fact's value is its size."""
    noted = asker.noted
    weight = max(1, noted.decoded_bytes // max(1, noted.records))
    refused: int | None = None
    for asked in [size for size in LADDER if size * weight <= LADDER_BYTES] or [1]:
        try:
            page = await asker.page(span.start, span.end, limit=asked)
        except Rejected:
            refused = asked
            continue
        items = len(page.rows) + len(page.rejects)
        if noted.most_beyond_limit:
            return judge.limit(1, noted.most_beyond_limit, more=False, refused=refused)
        more = 0 < items < asked and await _follows(asker, span, items, asked, page.rows[0])
        return judge.limit(asked, items, more=more, refused=refused)
    raise SourceError("no page of any size is served")


async def _follows(asker: Asker, span: Span, items: int, asked: int, first: Row) -> bool:
    try:
        behind = await asker.page(span.start, span.end, limit=asked, offset=items)
    except Rejected:
        return False
    return bool(behind.rows) and behind.rows[0][1] != first[1]


async def find(asker: Asker, span: Span, length: timedelta, top: int) -> Place | None:
    """The busiest stretch that was found to fit one page of `top`; None where there is no record at all."""
    best: Place | None = None
    full: Span | None = None
    for part in parts(span, length):
        page = await asker.page(part.start, part.end, limit=top)
        if len(page.rows) + len(page.rejects) >= top:
            full = part
            break
        best = _better(best, Place(span=part, rows=page.rows, top=top))
    for _ in range(HALVINGS):
        if full is None or full.end - full.start < 2 * _MS or (best and 2 * len(best.rows) >= top):
            break
        halves, full = _halves(full), None
        for half in halves:
            page = await asker.page(half.start, half.end, limit=top)
            if len(page.rows) + len(page.rejects) >= top:
                full = half
                break
            best = _better(best, Place(span=half, rows=page.rows, top=top))
    return best if best and best.rows else None


def _better(one: Place | None, other: Place) -> Place:
    return other if one is None or len(other.rows) > len(one.rows) else one


def _halves(span: Span) -> tuple[Span, Span]:
    length: timedelta = (span.end - span.start) / 2
    middle: datetime = span.start + length // _MS * _MS
    return Span(start=span.start, end=middle), Span(start=middle, end=span.end)
