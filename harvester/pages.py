"""A window becomes pages: the offset walk, its proof of the end, and what it does when the ground moves.

The server gives no total and no next link, so the end of a window has to be proven:

* The walk asks wider than the window on both sides, so inclusive, exclusive or second-cut ends make no
  difference.
* Each page after the first begins with the last record of the one before (the anchor). Where that record
  does not stand
  there, rows moved underneath: the window is read again, and if that goes on, it is cut into halves.
* A short page is no end by itself, for a server may cap the page size without a word. The end is an empty
  page, a page
  that holds nothing but the anchor, or a page shorter than one that this run has seen come whole (`Served`).

`Walk` decides and does no I/O: it says what to ask next and takes the page. `Pages` is the loop around it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Final, Protocol

from harvester.dialects import Ask, Dialect, Key, Page, Reject, Request, Row
from harvester.errors import ContractBroken, Moved, Rejected, SourceError
from harvester.events import Emit, PageFetched, RowsMoved
from harvester.transport import Answer, Layer
from harvester.windows import Window

REREADS: Final = 2
"""How often a window whose rows moved is read again before it is halved: a late record moves rows once,
ties that
change their order between calls move them on every reading."""
FLOOR_S: Final = 1.0
"""Windows are not halved below this, since every request is wider than its window by about as much."""
UNION_WALKS: Final = 40
"""How often rows that never keep still are walked through until the union is whole: with ties in random
order over
two pages each walk misses a record with probability 1/4, so 40 walks leave one chance in 10^24."""
_ROUND: Final = 50
"""Caps are round numbers: a page of 500 is never the end by its size."""
_SMALLER_MAY_PASS: Final = {400, 413, 414, 422}


@dataclass(slots=True)
class Served:
    """What this run has seen the server do; shared by all walks."""

    limit: int
    """What is asked for at present; halved where the server refuses it."""
    whole_page: int = 0
    """The most items that came in one page."""
    caps: set[int] | None = None
    """Sizes of pages after which more followed."""
    pages: int = 0
    """Good pages, at least an empty one."""
    records: int = 0
    """Valid records among them."""
    offset_ignored: bool = False

    def note(self, page: Page) -> None:
        self.pages += 1
        self.records += len(page.rows)
        self.whole_page = max(self.whole_page, len(page.rows) + len(page.rejects))

    def note_more_followed(self, items: int) -> None:
        if self.caps is None:
            self.caps = set()
        self.caps.add(items)

    def is_last(self, items: int) -> bool:
        """Whether a page of so many items proves the end by being short."""
        if items == 0:
            return True
        return (
            items < min(self.whole_page, self.limit)
            and items % _ROUND != 0
            and items not in (self.caps or ())
        )


class Verdict(Enum):
    """What a page did to the walk."""

    MORE = "more"
    END = "end"
    MOVED = "moved"
    REPEATED = "repeated"


class Walk:
    """One pass over one window by offset. Pure: `ask` says what to request, `take` judges the page."""

    def __init__(self, window: Window, *, widen: timedelta, served: Served) -> None:
        self._start = window.start - widen
        self._end = window.end + widen
        self._served = served
        self._position = 0
        self._anchor: Key | None = None
        self._before: frozenset[Key] = frozenset()
        self._slack = 0
        """Rows that may stand before the anchor: doubles and rejects move the count of positions."""
        self._items = 0
        """Of the page before."""
        self.counted = 0
        """Distinct records of the pass, as far as neighbouring pages tell them apart."""

    def ask(self) -> Ask:
        return Ask(
            start=self._start, end=self._end, limit=self._served.limit, offset=self._position, order_by=None
        )

    def at(self, position: int) -> Callable[[], Ask]:
        """The same request from another offset."""
        return lambda: replace(self.ask(), offset=position)

    def take(self, page: Page) -> tuple[Verdict, list[Row]]:
        """The verdict, and the rows that are new (the anchor and what stands before it are not)."""
        rows = page.rows
        items = len(rows) + len(page.rejects)
        if self._anchor is None:
            return self._take_first(page, rows, items)
        if items == 0:
            return Verdict.MOVED, []  # where the anchor must stand, nothing stands
        place = next((i for i, row in enumerate(rows[: self._slack + 1]) if row[1] == self._anchor), -1)
        if place < 0:
            keys = frozenset(row[1] for row in rows)
            return (Verdict.REPEATED if keys == self._before else Verdict.MOVED), []
        if any(row[1] not in self._before for row in rows[:place]):
            return Verdict.MOVED, []
        fresh = rows[place + 1 :]
        if not fresh and not page.rejects:
            return Verdict.END, []
        return self._go_on(page, fresh, items)

    def _take_first(self, page: Page, rows: list[Row], items: int) -> tuple[Verdict, list[Row]]:
        if items == 0:
            return Verdict.END, []
        return self._go_on(page, rows, items)

    def _go_on(self, page: Page, fresh: list[Row], items: int) -> tuple[Verdict, list[Row]]:
        if self._items:
            self._served.note_more_followed(self._items)
        self._items = items
        seen, last, distinct = set(self._before), self._anchor, 0
        for row in fresh:
            if row[1] not in seen:
                seen.add(row[1])
                last = row[1]
                distinct += 1
        self._slack += len(page.rejects) + len(fresh) - distinct
        self.counted += distinct
        self._before = frozenset(row[1] for row in page.rows)
        if self._served.is_last(items):
            return Verdict.END, fresh
        if distinct == 0:
            # Nothing but rejects or doubles: step over them, or the walk would stand still.
            self._position += items
            self._anchor = None
        elif len(self._before) == 1:
            # Pages of one record cannot overlap: from the anchor on, the same page would come again.
            self._position, self._anchor = self.counted, None
        else:
            self._position, self._anchor = self.counted - 1, last
        return Verdict.MORE, fresh


class Turn(Protocol):
    """What a window's reader does with what comes; `records.Gather` is one."""

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning; what an earlier reading of it brought is
        dropped.
        """

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps what is new and lies inside the window."""


class Read:
    """The layer that turns an Ask into a good Page: the request is built, sent, and its answer judged."""

    def __init__(
        self, dialect: Dialect, inner: Layer[Request, Answer], *, parse: "Parse", emit: Emit
    ) -> None:
        self._dialect = dialect
        self._inner = inner
        self._parse = parse
        self._emit = emit

    async def send(self, ask: Ask) -> Page:
        answer = await self._inner.send(self._dialect.request(ask))
        page = await self._parse(self._dialect, answer, ask)
        self._emit(
            PageFetched(
                start=ask.start,
                end=ask.end,
                offset=ask.offset,
                records=len(page.rows),
                received_bytes=answer.received_bytes,
                decoded_bytes=len(answer.body),
                elapsed_s=answer.elapsed_s,
            )
        )
        return page


class Parse(Protocol):
    async def __call__(self, dialect: Dialect, answer: Answer, ask: Ask) -> Page: ...


class Pages:
    """Reads windows page by page. One for all tasks; what it learns of the server it keeps in `served`."""

    def __init__(self, layer: Layer[Ask, Page], *, dialect: Dialect, served: Served, emit: Emit) -> None:
        self._layer = layer
        self._dialect = dialect
        self._served = served
        self._emit = emit
        self._widen = timedelta(seconds=dialect.widen_s)

    async def read(self, window: Window, turn: Turn) -> int:
        """Hands every record of the window to `turn`, at least once; returns the number of pages asked for.

        Raises Moved where rows never kept still, ContractBroken where no request of any size is served,
        and what
        the transport raises when its tries are used up.
        """
        asked = 0
        parts = [window]
        while parts:
            part = parts.pop()
            try:
                asked += await self._read_part(part, turn)
            except _Split as split:
                asked += split.asked
                if not self._can_halve(part):
                    raise split.reason from None
                self._emit(RowsMoved(start=part.start, end=part.end, action="split"))
                first, second = part.halves()
                parts += [second, first]
        return asked

    def _can_halve(self, part: Window) -> bool:
        return self._dialect.membership == "date" and (part.end - part.start).total_seconds() > FLOOR_S

    async def _read_part(self, part: Window, turn: Turn) -> int:
        asked = 0
        for attempt in range(REREADS + 1):
            verdict, pages = await self._walk(part, turn)
            asked += pages
            if verdict is Verdict.END:
                return asked
            if verdict is Verdict.REPEATED:
                self._served.offset_ignored = True
                raise _Split(
                    asked, ContractBroken(f"{_named(part)}: the server sends the same page for every offset")
                )
            if attempt < REREADS:
                self._emit(RowsMoved(start=part.start, end=part.end, action="reread"))
        if self._can_halve(part):
            raise _Split(asked, Moved(f"{_named(part)}: rows moved"))
        return asked + await self._unite(part, turn)

    async def _walk(self, part: Window, turn: Turn) -> tuple[Verdict, int]:
        walk = Walk(part, widen=self._widen, served=self._served)
        turn.begin(part)
        asked = 0
        while True:
            page = await self._ask(walk.ask, part, asked)
            asked += 1
            if self._dialect.paging == "none":
                await turn.add(page.rows, page.rejects)
                return Verdict.END, asked
            verdict, fresh = walk.take(page)
            if fresh or page.rejects:
                await turn.add(fresh, page.rejects)
            if verdict is not Verdict.MORE:
                return verdict, asked
            if self._served.offset_ignored:
                return Verdict.REPEATED, asked

    async def _unite(self, part: Window, turn: Turn) -> int:
        """The last resort for ties in random order: walk, whatever moves, until the union is as large as
        the count.
        """
        turn.begin(part)
        union: set[int] = set()
        asked = 0
        for _ in range(UNION_WALKS):
            position, before = 0, len(union)
            while True:
                page = await self._ask(
                    Walk(part, widen=self._widen, served=self._served).at(position), part, asked
                )
                asked += 1
                items = len(page.rows) + len(page.rejects)
                if items == 0 or position > 2 * len(union) + 2 * items:
                    break
                await turn.add(page.rows, page.rejects)
                keys = {hash(row[1]) for row in page.rows}
                union |= keys
                position += len(keys) + len(page.rejects)
            if len(union) == before and len(union) >= position:
                return asked
        raise Moved(
            f"{_named(part)}: rows changed their order on each of {UNION_WALKS} readings; run again later"
        )

    async def _ask(self, ask: Callable[[], Ask], part: Window, asked: int) -> Page:
        """One page; where the server refuses the request, a smaller page or a smaller window is tried."""
        while True:
            limit = self._served.limit
            try:
                page = await self._layer.send(ask())
            except Rejected as error:
                if error.status_code not in _SMALLER_MAY_PASS:
                    raise
                good = self._served.pages > 0
                if not good and limit > 1:
                    if limit == self._served.limit:
                        self._served.limit = limit // 2
                    continue
                cured = SourceError(str(error)) if good else ContractBroken(str(error))
                raise _Split(asked + 1, cured) from error
            self._served.note(page)
            if page.rejects and not self._served.records:
                raise ContractBroken(
                    f"{_named(part)}: no record has the declared key and date ({page.rejects[0].reason}); "
                    "check [source] dialect and date_field"
                )
            return page


class _Split(Exception):
    """This part cannot be read in one piece; `reason` is raised where it cannot be halved either."""

    def __init__(self, asked: int, reason: SourceError) -> None:
        super().__init__()
        self.asked = asked
        self.reason = reason


def _named(window: Window) -> str:
    return f"window {window.start.isoformat()} to {window.end.isoformat()}"
