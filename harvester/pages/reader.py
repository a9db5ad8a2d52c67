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
from datetime import timedelta
from typing import Final, Protocol

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.errors import ContractBroken, Moved, Rejected, SourceError
from harvester.events import Emit, RowsMoved
from harvester.pages.served import Served
from harvester.pages.walk import Verdict, Walk
from harvester.transport import Layer
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
_SMALLER_MAY_PASS: Final = {400, 413, 414, 422}


class Turn(Protocol):
    """What a window's reader does with what comes; `records.Gather` is one."""

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning; what an earlier reading of it brought is
        dropped.
        """

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps what is new and lies inside the window."""


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
