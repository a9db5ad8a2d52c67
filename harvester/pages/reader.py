"""A window becomes pages: the offset walk, its proof of the end, and what it does when the ground moves.

The server gives no total and no next link, so the end of a window has to be proven:

* The walk asks wider than the window on both sides, so inclusive, exclusive or second-cut ends make no
  difference.
* Each page after the first begins with the last record of the one before (the anchor). Where that record
  does not stand there, rows moved underneath: the window is read again, and if that goes on, it is cut into
  halves.
* A short page is no end, for a server may cap pages without a word, and differently each time. The end is an
  empty page, or one that holds nothing but the anchor.
* Where offsets are ignored or refused, halves take the place of the anchor (`_prove_by_halves`).

`Walk` decides and does no I/O: it says what to ask next and takes the page. `Pages` is the loop around it,
and stretches.py the one for stretches that are read by time.
"""

from array import array
from datetime import timedelta
from typing import Final, Protocol

from harvester.dialects import Ask, Dialect, Key, Page, Reject, Row
from harvester.errors import ContractBroken, Moved, ServerFailed, SourceError, TimedOut
from harvester.events import Emit, RowsMoved, WindowSplit
from harvester.pages.asking import Asking, Split, named
from harvester.pages.served import Served
from harvester.pages.walk import Passes, Verdict, Walk
from harvester.transport import Layer
from harvester.windows import Window

REREADS: Final = 2
"""How often a window whose rows moved is read again before it is halved: a late record moves rows once,
ties that change their order between calls move them on every reading.
"""
FLOOR_S: Final = 1.0
"""Windows are not halved below this, since every request is wider than its window by about as much."""
UNION_WALKS: Final = 40
"""How often rows that never keep still are walked through until the union is whole: with ties in random
order over two pages each walk misses a record with probability 1/4, so 40 walks leave one chance in 10^24.
"""
MOST_CAPS: Final = 3
"""Where pages were cut to so many different sizes, both halves of one may be cut to just what it holds: then
halves prove nothing."""
SAME_PAGES: Final = 12
"""How often a page of a few rows has to come again for another offset before the server counts as one that
ignores it: rows in random order may look like it now and then."""
_MOST_DOUBLES: Final = 16
"""A record may stand this often in a source before its pages are taken for pages of nothing."""


class Turn(Protocol):
    """What a window's reader does with what comes; `records.Gather` is one."""

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning; what an earlier reading of it brought is
        dropped.
        """

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps what is new and lies inside the window."""


class Pages:
    """Reads windows page by page. What is learned of the server is kept in `served`, which all share."""

    def __init__(self, layer: Layer[Ask, Page], *, dialect: Dialect, served: Served, emit: Emit) -> None:
        self._asking = Asking(layer, served)
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
            except Split as split:
                asked += split.asked
                if not self._can_halve(part):
                    raise split.reason from None
                self._emit(WindowSplit(start=part.start, end=part.end, reason=str(split.reason)))
                first, second = part.halves()
                parts += [second, first]
        return asked

    def _can_halve(self, part: Window) -> bool:
        return self._dialect.membership == "date" and (part.end - part.start).total_seconds() > FLOOR_S

    async def _read_part(self, part: Window, turn: Turn) -> int:
        asked, moved, repeated, passes = 0, 0, 0, Passes()
        if self._served.offset_ignored:
            return await self._prove_by_halves(part, turn, ContractBroken(_same_page(part)))
        while moved <= REREADS:
            walk = Walk(part, widen=self._widen, served=self._served)
            try:
                verdict, pages = await self._walk(walk, part, turn)
            except DeepRefused as refused:
                asked += refused.asked
                if refused.asked > 2:
                    raise Split(asked, refused.reason) from None
                return asked + await self._prove_by_halves(part, turn, refused.reason)
            asked += pages
            if verdict is Verdict.END:
                return asked
            if verdict is Verdict.DOUBLED:
                if passes.prove(walk.signature, walk.positions):
                    return asked
                if passes.agree:
                    continue
            if verdict is Verdict.REPEATED:
                repeated += 1
                if repeated < (2 if walk.page_rows >= 8 else SAME_PAGES):
                    continue
                self._served.offset_ignored = self._can_halve(part)
                return asked + await self._prove_by_halves(part, turn, ContractBroken(_same_page(part)))
            moved += 1
            if moved <= REREADS:
                self._emit(RowsMoved(start=part.start, end=part.end))
        if self._can_halve(part):
            raise Split(asked, Moved(f"{named(part)}: rows moved"))
        return asked + await self._unite(part, turn)

    async def _walk(self, walk: Walk, part: Window, turn: Turn) -> tuple[Verdict, int]:
        turn.begin(part)
        asked = 0
        while True:
            try:
                page = await self._asking.page(walk.ask, part, asked)
            except Split as split:
                if asked:
                    raise DeepRefused(split.asked, split.reason) from None
                raise
            except (ServerFailed, TimedOut) as error:
                if asked:
                    raise DeepRefused(asked + 1, error) from error
                raise
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

    async def _prove_by_halves(self, part: Window, turn: Turn, reason: SourceError) -> int:
        """Reads a part in one page, where no offset can show what stands behind it.

        A page that was cut lacks records of one half at least; so it is whole where both halves are smaller
        and hold together just what it holds. Where they do not, Split: each half is read by itself. What
        cannot be halved any more is asked for a second time in another order; it is whole where the same
        comes and larger pages were seen. Else offsets are tried to the end.
        """
        turn.begin(part)
        page = await self._asking.page(self._at_once(part), part)
        asked, served = 1, self._served
        items = len(page.rows) + len(page.rejects)
        if items == 0:
            return asked
        whole = {row[1] for row in page.rows}
        await turn.add(page.rows, page.rejects)
        is_full = items >= served.limit or items in (served.caps or ())
        if self._can_halve(part):
            both: set[Key] = set()
            smaller_both = not is_full
            for half in () if is_full else part.halves():
                there = await self._asking.page(self._at_once(half), half, asked)
                await turn.add(there.rows, there.rejects)
                keys = {row[1] for row in there.rows}
                smaller_both &= len(keys) < len(whole) and len(there.rows) + len(there.rejects) < items
                both |= keys
                asked += 1
            if both == whole and smaller_both and len(served.caps or ()) < MOST_CAPS:
                return asked
            if both > whole:
                served.note_more_followed(items)
            if len(whole) == items == 1 < served.whole_page and not is_full:
                return asked
            raise Split(asked, reason)
        order = self._dialect.date_field if "order_by" in self._dialect.places else None
        again = await self._asking.page(self._at_once(part, order), part, asked)
        await turn.add(again.rows, again.rejects)
        cut = len(served.caps or ()) > 1 or items >= served.whole_page
        if is_full or cut or {row[1] for row in again.rows} != whole:
            return asked + 1 + await self._unite(part, turn)
        return asked + 1

    def _at_once(self, part: Window, order_by: str | None = None) -> "_AtOnce":
        return _AtOnce(part, self._widen, self._served, order_by)

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
                walk = Walk(part, widen=self._widen, served=self._served)
                page = await self._asking.page(walk.at(position), part, asked)
                asked += 1
                items = len(page.rows) + len(page.rejects)
                if items == 0:
                    break
                if position > _MOST_DOUBLES * (len(union) + items):
                    raise ContractBroken(_same_page(part))
                await turn.add(page.rows, page.rejects)
                keys = {hash(row[1]) for row in page.rows}
                way.extend(hash(row[1]) for row in page.rows)
                union |= keys
                position += max(1, len(keys) + len(page.rejects))
            agreed = passes.prove(hash(way.tobytes()), len(way))
            if len(union) == before and (len(union) >= position or agreed):
                return asked
        raise Moved(
            f"{named(part)}: rows changed their order on each of {UNION_WALKS} readings; run again later"
        )


class DeepRefused(Split):
    """The first page came, one behind it is refused or comes too late."""


class _AtOnce:
    """Asks for all of a part."""

    def __init__(self, part: Window, widen: timedelta, served: Served, order_by: str | None) -> None:
        self._start, self._end = part.start - widen, part.end + widen
        self._served = served
        self._order_by = order_by

    def __call__(self) -> Ask:
        return Ask(
            start=self._start, end=self._end, limit=self._served.limit, offset=0, order_by=self._order_by
        )


def _same_page(part: Window) -> str:
    return f"{named(part)}: the server sends the same page for every offset"
