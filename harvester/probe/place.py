"""Where to measure: how far a range may reach, how large a page may be, and a busy stretch that fits a page.

Coarse to fine: the whole span, eight parts of it, then halves of the busiest until a page holds all of one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from harvester.dialects import Key, Page, Row
from harvester.errors import Rejected, ServerFailed, SourceError, Throttled, TimedOut
from harvester.probe.asker import Asker, inside, size
from harvester.probe.judge import EDGE
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
    items: int
    """With those that are no records."""
    top: int
    """A page of so many is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What the largest Limit that was not refused brought."""

    span: Span
    """Of which it was asked."""
    asked: int
    items: int
    refused: int | None
    """The smallest Limit that was."""
    more: bool | None
    """Whether records followed; None where that does not show, or does not matter."""

    @property
    def top(self) -> int:
        """A page of so many is served; with fewer records it was the last."""
        return min(PLACE_MOST, self.asked, *([] if self.more is False else [self.items]))

    @property
    def least(self) -> int:
        """Records that there are at least."""
        return self.items + (self.more is True)


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


async def ladder(asker: Asker, span: Span, refused: int | None = None) -> Ladder:
    """`refused`: no Limit of that and above is served."""
    noted = asker.noted
    weight = max(1, noted.decoded_bytes // max(1, noted.records))
    steps = [step for step in LADDER if step * weight <= LADDER_BYTES] or [1]
    for asked in [step for step in steps if refused is None or step < refused]:
        try:
            page = await asker.page(span.start, span.end, limit=asked)
        except Rejected:
            refused = asked
            continue
        items = size(page)
        if not items:
            raise SourceError("the records of a moment ago do not come again")
        more = await _more(asker, span, page, asked) if items < asked else None
        return Ladder(span=span, asked=asked, items=items, refused=refused, more=more)
    raise SourceError("no page of any size is served")


async def _more(asker: Asker, span: Span, first: Page, asked: int) -> bool | None:
    """Whether records follow behind a page that is shorter than asked; None where that does not show.

    The next page by offset may show some. Where offsets are not kept, the four parts of the range that hold a
    quarter of the page's records each do: a page of most of them begins elsewhere. That nothing follows shows
    where all of them, smaller than the page was, bring all of it again and nothing else.
    """
    known = _keys(first, span)
    behind = await _page(asker, span, asked, offset=size(first))
    fresh = _keys(behind, span) - known if behind else set[Key]()
    is_all = False
    if not fresh:
        pages = [await _page(asker, part, asked) for part in _quarters(first, span)]
        met = set[Key]().union(*(_keys(page, span) for page in pages if page))
        fresh = met - known
        is_all = met == known and all(page is not None and size(page) < size(first) for page in pages)
    again = await _page(asker, span, asked)
    if again is None:
        return None
    if fresh:  # what was added in the meantime would be there now, if the first page had held all
        return True if fresh - _keys(again, span) else None
    return False if is_all and _keys(again, span) == known else None


def _quarters(page: Page, span: Span) -> list[Span]:
    """A second wider on both sides, since either end may be left out."""
    times = sorted(row[0] for row in inside(page.rows, span.start, span.end))
    edges = [span.start, *(times[len(times) * part // 4] for part in (1, 2, 3) if times), span.end]
    parts = [span.overlap(Span(start=one - EDGE, end=other + EDGE)) for one, other in pairwise(edges)]
    return [part for part in parts if part is not None]


def _keys(page: Page, span: Span) -> set[Key]:
    return {row[1] for row in inside(page.rows, span.start, span.end)}


async def _page(asker: Asker, span: Span, limit: int, offset: int = 0) -> Page | None:
    """None where the source has no answer to this very request."""
    try:
        return await asker.page(span.start, span.end, limit=limit, offset=offset)
    except (Rejected, ServerFailed, TimedOut):
        return None


async def settle(asker: Asker, span: Span, length: timedelta, found: Ladder) -> tuple[Place | None, Ladder]:
    """The place, and the ladder that its pages were judged by: what was seen of a part with few records tells
    nothing of pages that are fuller."""
    place = await find(asker, span, length, found.top)
    if place is None or place.items <= found.items or length == span.end - span.start:
        return place, found
    found = await ladder(asker, place.span, found.refused)
    if found.more is not False:
        place = await find(asker, span, length, found.top)
    return place, found


async def find(asker: Asker, span: Span, length: timedelta, top: int) -> Place | None:
    """The busiest stretch that was found to fit one page of `top`; None where there is no record at all."""
    best: Place | None = None
    full: Span | None = None
    for part in parts(span, length):
        page = await asker.page(part.start, part.end, limit=top)
        if size(page) >= top:
            full = part
            break
        best = _better(best, part, page, top)
    for _ in range(HALVINGS):
        if full is None or full.end - full.start < 2 * _MS or (best and 2 * len(best.rows) >= top):
            break
        halves, full = _halves(full), None
        for half in halves:
            page = await asker.page(half.start, half.end, limit=top)
            if size(page) >= top:
                full = half
                break
            best = _better(best, half, page, top)
    return best if best and best.rows else None


def _better(one: Place | None, span: Span, page: Page, top: int) -> Place:
    if one is not None and len(page.rows) <= len(one.rows):
        return one
    return Place(span=span, rows=page.rows, items=size(page), top=top)


def _halves(span: Span) -> tuple[Span, Span]:
    length: timedelta = (span.end - span.start) / 2
    middle: datetime = span.start + length // _MS * _MS
    return Span(start=span.start, end=middle), Span(start=middle, end=span.end)
