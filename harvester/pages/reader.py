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

from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from typing import Final, Protocol

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.errors import BadPage, ContractBroken, Moved, Refused, Rejected, SourceError
from harvester.events import Emit, RowsMoved, WindowSplit
from harvester.pages.seek import Seek, Step, proves_order
from harvester.pages.served import Served
from harvester.pages.walk import Passes, Verdict, Walk
from harvester.transport import Layer, OutageOutlived
from harvester.windows import Span, Window

REREADS: Final = 2
"""How often a window whose rows moved is read again before it is halved: a late record moves rows once,
ties that change their order between calls move them on every reading.
"""
FLOOR_S: Final = 1.0
"""Windows are not halved below this, since every request is wider than its window by about as much."""
GIVE_UP_S: Final = 3600.0
"""A stretch that fails on every try is narrowed down to this, so that an hour is lost to a bad record and
not a day.
"""
UNION_WALKS: Final = 40
"""How often rows that never keep still are walked through until the union is whole: with ties in random
order over two pages each walk misses a record with probability 1/4, so 40 walks leave one chance in 10^24.
"""
_MOST_DOUBLES: Final = 16
"""A record may stand this often in a source before its pages are taken for pages of nothing."""
_SMALLER_MAY_PASS: Final = {400, 413, 414, 422}


class Turn(Protocol):
    """What a window's reader does with what comes; `records.Gather` is one."""

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning; what an earlier reading of it brought is
        dropped.
        """

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps what is new and lies inside the window."""


class Stretch(Protocol):
    """What a stretch's reader does with what comes; `records.Sheaf` is one."""

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None: ...

    def close(self, end: datetime) -> None:
        """Everything up to here has come."""

    def fail(self, end: datetime, error: str) -> None:
        """From the last segment's end up to here nothing could be had."""

    def gather(self, window: Window) -> Turn:
        """A window of the stretch that is read by itself."""

    def windows(self, start: datetime, end: datetime) -> Iterable[Window]: ...


class Unsorted(Exception):
    """The server does not keep the order that a stretch needs: its windows have to be walked one by one."""


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

        Raises Moved where rows never kept still, ContractBroken where no request of any size is served, and
        what the transport raises when its tries are used up.
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
                self._emit(WindowSplit(start=part.start, end=part.end, reason=str(split.reason)))
                first, second = part.halves()
                parts += [second, first]
        return asked

    async def seek(self, stretch: Span, turn: Stretch, *, on_page: Callable[[Seek], None]) -> int:
        """Hands every record of the stretch to `turn`, by time; returns the number of pages asked for.

        `on_page` may trim the stretch after a full page. What fails on every try is narrowed down and given
        up, the rest goes on. Raises Unsorted, with nothing built upon, where the server does not keep an
        order.
        """
        seeking = Seek(
            stretch, widen=self._widen, served=self._served, order_by=self._dialect.date_field or ""
        )
        asked = 0
        while seeking.position < seeking.end:
            try:
                page = await self._ask(seeking.ask, _reach(seeking), asked)
                asked += 1
                asked += await self._take(seeking, page, turn, on_page)
            except _Split as split:
                asked += split.asked
                self._give_up(seeking, turn, split.reason, floor_s=FLOOR_S)
            except (Refused, ContractBroken):
                raise
            except OutageOutlived as error:
                seeking.trim(seeking.end)
                self._give_up(seeking, turn, error, floor_s=inf)
            except SourceError as error:
                self._give_up(seeking, turn, error, floor_s=GIVE_UP_S)
        return asked

    async def _take(self, seeking: Seek, page: Page, turn: Stretch, on_page: Callable[[Seek], None]) -> int:
        """What a page means for the stretch; how many further pages were asked for on the way."""
        asked = 0
        begun = seeking.position
        step, fresh = seeking.take(page)
        if step is Step.UNSORTED:
            self._served.order_kept = False
        elif seeking.trusts_order and self._served.order_kept is None:
            try:
                asked += await self._prove_order(seeking, page)
            except SourceError:
                seeking.move_to(begun)  # nothing of the page is kept
                raise
        if seeking.trusts_order and not self._served.order_kept:
            raise Unsorted
        await turn.add(fresh, page.rejects)
        if step is Step.END:
            turn.close(seeking.end)
        elif step is Step.STUCK:
            turn.close(seeking.position)
            second = min(seeking.end, seeking.position + timedelta(seconds=FLOOR_S))
            window = next(iter(turn.windows(seeking.position, second)))
            asked += await self.read(window, turn.gather(window))
            seeking.move_to(window.end)
        else:
            on_page(seeking)
            if seeking.position >= seeking.end:
                turn.close(seeking.end)
        return asked

    async def _prove_order(self, seeking: Seek, page: Page) -> int:
        """Asks for the same range by key: only a server that keeps both orders is read by time."""
        kept: bool | None = None
        if len(self._dialect.key_fields) == 1:
            ask = replace(seeking.ask_again(), order_by=self._dialect.key_fields[0])
            try:
                kept = proves_order(page, await self._layer.send(ask))
            except Rejected:
                kept = None
        self._served.order_kept = bool(kept)
        return 1

    def _give_up(self, seeking: Seek, turn: Stretch, error: SourceError, *, floor_s: float) -> None:
        """Reaches half as far; where that is no use any more, what is left of the reach has failed."""
        if not self._served.pages and isinstance(error, BadPage | Rejected):
            # Not one good page ever came: it is the source that is wrong, and no smaller reach will mend it.
            raise ContractBroken(f"never one good page: {error}") from error
        if floor_s < inf and seeking.halve(timedelta(seconds=floor_s)):
            self._emit(WindowSplit(start=seeking.position, end=seeking.until, reason=str(error)))
            return
        end = seeking.until
        turn.close(seeking.position)
        turn.fail(end, f"{type(error).__name__}: {error}")
        seeking.move_to(end)

    def _can_halve(self, part: Window) -> bool:
        return self._dialect.membership == "date" and (part.end - part.start).total_seconds() > FLOOR_S

    async def _read_part(self, part: Window, turn: Turn) -> int:
        asked, moved, passes = 0, 0, Passes()
        while moved <= REREADS:
            walk = Walk(part, widen=self._widen, served=self._served)
            verdict, pages = await self._walk(walk, part, turn)
            asked += pages
            if verdict is Verdict.END:
                return asked
            if verdict is Verdict.DOUBLED:
                if passes.prove(walk.signature, walk.positions):
                    return asked
                if passes.agree:
                    continue
            if verdict is Verdict.REPEATED:
                if not self._can_halve(part):
                    break
                self._served.offset_ignored = True
                raise _Split(asked, Moved(f"{_named(part)}: the server sends the same page for every offset"))
            moved += 1
            if moved <= REREADS:
                self._emit(RowsMoved(start=part.start, end=part.end))
        if self._can_halve(part):
            raise _Split(asked, Moved(f"{_named(part)}: rows moved"))
        return asked + await self._unite(part, turn)

    async def _walk(self, walk: Walk, part: Window, turn: Turn) -> tuple[Verdict, int]:
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
        """The last resort for ties in random order: walk, whatever moves, until nothing new comes and the
        union is as large as the count; or until two walks bring the same, where the source holds records
        twice.
        """
        turn.begin(part)
        union: set[int] = set()
        asked = 0
        passes = Passes()
        for _ in range(UNION_WALKS):
            position, before, way = 0, len(union), array("q")
            while True:
                page = await self._ask(
                    Walk(part, widen=self._widen, served=self._served).at(position), part, asked
                )
                asked += 1
                items = len(page.rows) + len(page.rejects)
                if items == 0:
                    break
                if position > _MOST_DOUBLES * (len(union) + items):
                    raise ContractBroken(f"{_named(part)}: the server sends the same page for every offset")
                await turn.add(page.rows, page.rejects)
                keys = {hash(row[1]) for row in page.rows}
                way.extend(hash(row[1]) for row in page.rows)
                union |= keys
                position += max(1, len(keys) + len(page.rejects))
            agreed = passes.prove(hash(way.tobytes()), len(way))
            if len(union) == before and (len(union) >= position or agreed):
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


def _reach(seeking: Seek) -> Window:
    return Window(
        start=seeking.position, end=max(seeking.until, seeking.position + timedelta(milliseconds=1))
    )


class _Split(Exception):
    """This part cannot be read in one piece; `reason` is raised where it cannot be halved either."""

    def __init__(self, asked: int, reason: SourceError) -> None:
        super().__init__()
        self.asked = asked
        self.reason = reason


def _named(window: Window) -> str:
    return f"window {window.start.isoformat()} to {window.end.isoformat()}"
