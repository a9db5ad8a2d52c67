"""A window becomes pages: the offset walk, its proof of the end, and what it does when the ground moves.

The server gives no total and no next link, so the end of a window has to be proven:

* The walk asks wider than the window on both sides, so inclusive, exclusive or second-cut ends make no
  difference.
* Each page after the first begins with the last records of the one before (overlap.py). Where they do not
  stand there, rows moved underneath: the window is read again, and if that goes on, it is cut into halves.
* A short page is no end, for a server may cut pages without a word, and differently each time. The end is an
  empty page.
* Where the server can be asked for what lies behind a key, pages go on there and not at an offset
  (by_key.py).
* Where offsets are ignored or refused, halves take the place of the overlap (at_once.py).

`Walk` decides and does no I/O: it says what to ask next and takes the page. `Pages` is the loop around it,
and stretches.py the one for stretches that are read by time.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.errors import ContractBroken, Moved, ServerFailed, SourceError, TimedOut
from harvester.events import Emit, RowsMoved, WindowSplit
from harvester.pages.asking import Asking, Split, Turn, named
from harvester.pages.at_once import AtOnce
from harvester.pages.by_key import ByKey
from harvester.pages.served import Served
from harvester.pages.walk import MOST_DOUBLES, MOST_PAGES, Passes, Verdict, Walk
from harvester.transport import Layer
from harvester.windows import Window

REREADS: Final = 2
"""How often a window whose rows moved is read again before it is halved: a late record moves rows once,
ties that change their order between calls move them on every reading.
"""
FLOOR_S: Final = 1.0
"""Windows are not halved below this, since every request is wider than its window by about as much."""
UNION_WALKS: Final = 84
"""How often rows that never keep still are walked through until the union is whole, twice over: with ties in
random order over two pages each walk misses a record with probability 1/4, so 40 walks leave one chance in
10^24. Two rows have to come the same way 41 times.
"""
SAME_PAGES: Final = 12
"""How often a page of a few rows has to come again for another offset before the server counts as one that
ignores it: rows in random order may look like it now and then."""
MOST_REQUESTS: Final = 1000
MOST_A_RECORD: Final = 200
"""So many requests a window may cost, and so many more for each record that came, while its rows move: each
level of halves, some dozen down to a second, is walked up to three times. A server that answers each range
with the same rows would be asked for every second of it."""
_ENDLESS_HALVES: Final = 4
"""A window of more pages than a walk may have is halved, but not for ever: a source may make up records
without end."""
_FIRST_RECALL: Final = 128
"""After so many pages, and each time there are twice as many, what stands in the middle of them is asked for
again: where nothing of it has come before, records are made up for each request."""


class Pages:
    """Reads windows page by page. What is learned of the server is kept in `served`, which all share."""

    def __init__(self, layer: Layer[Ask, Page], *, dialect: Dialect, served: Served, emit: Emit) -> None:
        self._asking = Asking(layer, served)
        self._dialect = dialect
        self._served = served
        self._emit = emit
        self._widen = timedelta(seconds=dialect.widen_s)
        self._at_once = AtOnce(self._asking, dialect=dialect, served=served)
        self._by_key = ByKey(self._asking, dialect=dialect, served=served)

    async def read(self, window: Window, turn: Turn) -> int:
        """Hands every record of the window to `turn`, at least once; returns the number of pages asked for.

        Raises Moved where rows never kept still, ContractBroken where no request of any size is served, and
        what the transport raises when its tries are used up.
        """
        asked = endless = 0
        came: set[int] = set()
        counting = _Counting(turn, window, came)
        parts: list[tuple[Window, set[int] | None]] = [(window, None)]
        while parts:
            part, around = parts.pop()
            try:
                asked += await self._read_part(part, counting if asked else turn, around)
            except Split as split:
                asked += split.asked
                endless += isinstance(split, Endless)
                if not self._can_halve(part) or endless > _ENDLESS_HALVES:
                    raise split.reason from None
                came |= split.keys or set()
                if asked > MOST_REQUESTS + MOST_A_RECORD * len(came):
                    raise Moved(
                        f"{named(window)}: after {asked:,} requests for {len(came):,} records they are not "
                        f"whole yet ({split.reason}); run again later"
                    ) from None
                self._emit(WindowSplit(start=part.start, end=part.end, reason=str(split.reason)))
                first, second = part.halves()
                parts += [(second, split.keys), (first, split.keys)]
        return asked

    def _can_halve(self, part: Window) -> bool:
        return self._dialect.membership == "date" and (part.end - part.start).total_seconds() > FLOOR_S

    async def _read_part(self, part: Window, turn: Turn, around: set[int] | None) -> int:
        """`around` are the records of the part that this one is a half of: where just the same come, all of
        them from outside, they would to the last of its halves."""
        asked, moved, repeated, passes = 0, 0, 0, Passes()
        if self._by_key.is_usable:
            asked, is_whole = await self._by_key.read(part, turn)
            if is_whole:
                return asked
        if self._served.offset_ignored:
            return asked + await self._read_at_once(part, turn, ContractBroken(_same_page(part)))
        while moved <= REREADS:
            walk = Walk(part, widen=self._widen, served=self._served)
            try:
                verdict, pages = await self._walk(walk, part, turn)
            except DeepRefused as refused:
                asked += refused.asked
                if refused.is_deep:
                    raise Split(asked, refused.reason) from None
                return asked + await self._read_at_once(part, turn, refused.reason)
            asked += pages
            if verdict is Verdict.END:
                return asked
            if verdict is Verdict.DOUBLED and not walk.is_ordered:
                is_nothing_inside = walk.keys == around and not walk.is_inside
                if is_nothing_inside or not self._can_halve(part):
                    return asked + await self._unite(part, turn)
                raise Split(asked, Moved(f"{named(part)}: records came twice, in no order"), walk.keys)
            if verdict is Verdict.DOUBLED:
                if passes.prove(walk.signature, walk.positions):
                    return asked
                if passes.agree:
                    continue
            if verdict is Verdict.REPEATED:
                repeated += max(1, walk.repeats)
                if repeated < (2 if walk.page_rows >= 8 else SAME_PAGES):
                    continue
                self._served.offset_ignored = self._can_halve(part)
                return asked + await self._read_at_once(part, turn, ContractBroken(_same_page(part)))
            moved += 1
            if moved <= REREADS:
                self._emit(RowsMoved(start=part.start, end=part.end))
        if self._can_halve(part):
            raise Split(asked, Moved(f"{named(part)}: rows moved"), walk.keys)
        return asked + await self._unite(part, turn)

    async def _walk(self, walk: Walk, part: Window, turn: Turn) -> tuple[Verdict, int]:
        turn.begin(part)
        asked, recall_at, is_deep = 0, _FIRST_RECALL, False
        while True:
            try:
                page = await self._asking.page(walk.ask, part, asked)
            except Split as split:
                if asked:
                    raise DeepRefused(split.asked, split.reason, is_deep=is_deep) from None
                raise
            except (ServerFailed, TimedOut) as error:
                if asked:
                    raise DeepRefused(asked + 1, error, is_deep=is_deep) from error
                raise
            asked += 1
            is_deep = is_deep or walk.offset > 0
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
            if asked >= recall_at:
                recall_at = 2 * asked
                if asked >= MOST_PAGES:
                    raise Endless(asked, _no_end(part, asked))
                asked += await self._recall(walk.at(walk.position // 2), walk.knows, part, asked)

    async def _recall(
        self, ask: Callable[[], Ask], knows: Callable[[Page], bool], part: Window, asked: int
    ) -> int:
        """Whether what stood here before, or where else it has moved since, was seen; how many pages were
        asked for. More than one only where pages are small and come in another order each time.
        """
        for trial in range(SAME_PAGES):
            page = await self._asking.page(ask, part, asked)
            if knows(page) or not (page.rows or page.rejects):
                return trial + 1
        raise ContractBroken(
            f"{named(part)}: after {asked:,} pages none of their records comes again; the server sends other "
            "ones for each request"
        )

    async def _read_at_once(self, part: Window, turn: Turn, reason: SourceError) -> int:
        """Where no offset shows what stands behind a page. Split: each half is read by itself. In what cannot
        be halved any more offsets are tried to the end."""
        turn.begin(part)
        asked, is_whole = await self._at_once.read(part, turn, can_halve=self._can_halve(part))
        if is_whole:
            return asked
        if self._can_halve(part):
            raise Split(asked, reason)
        return asked + await self._unite(part, turn)

    async def _unite(self, part: Window, turn: Turn) -> int:
        """The last resort for ties in random order: walk, whatever moves, until nothing new comes and the
        union is as large as the count, twice over: a record that has left since it came stands in the union
        for one that has not come, but not in two of them. Or until walks bring the same in pages of different
        sizes, where the source holds records twice: pages of one size may leave out the same each time.
        """
        turn.begin(part)
        union: set[int] = set()
        first: set[int] | None = None
        asked, largest = 0, self._served.limit
        passes = Passes()
        for number in range(1, UNION_WALKS + 1):
            position, before, size, largest = 0, len(union), largest, 0
            pages, recall_at = 0, _FIRST_RECALL
            way: dict[int, None] = {}
            while True:
                walk = Walk(part, widen=self._widen, served=self._served, most=size)
                page = await self._asking.page(walk.at(position), part, asked)
                asked += 1
                items = len(page.rows) + len(page.rejects)
                if items == 0:
                    break
                if position > MOST_DOUBLES * (len(union) + items):
                    raise ContractBroken(_same_page(part))
                await turn.add(page.rows, page.rejects)
                keys = {hash(row[1]) for row in page.rows}
                way.update(dict.fromkeys(hash(row[1]) for row in page.rows))
                union |= keys
                position += max(1, len(keys) + len(page.rejects))
                largest = max(largest, items - 1)
                pages += 1
                if pages >= recall_at:
                    recall_at = 2 * pages
                    if pages >= MOST_PAGES:
                        raise _no_end(part, pages)
                    known = partial(_is_any_of, union)
                    asked += await self._recall(walk.at(position // 2), known, part, asked)
            agreed = passes.prove(hash(tuple(way)), len(way))
            if len(union) == before and (len(union) >= position or agreed):
                if agreed or union == first:
                    return asked
                first, union = union, set()
            # Where pages hold one record, another size is another request all the same.
            largest = largest or max(1, self._served.limit - number)
        raise Moved(
            f"{named(part)}: rows changed their order on each of {UNION_WALKS} readings; run again later"
        )


class _Counting:
    """Hands on what comes, and notes which records of the window were among it."""

    def __init__(self, turn: Turn, window: Window, came: set[int]) -> None:
        self._turn = turn
        self._window = window
        self._came = came

    def begin(self, part: Window) -> None:
        self._turn.begin(part)

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        self._came.update(hash(row[1]) for row in rows if self._window.contains(row[0]))
        await self._turn.add(rows, rejects)


class DeepRefused(Split):
    """The first page came, one behind it is refused or comes too late."""

    def __init__(self, asked: int, reason: SourceError, *, is_deep: bool) -> None:
        """`is_deep`: others from behind the first one came."""
        super().__init__(asked, reason)
        self.is_deep = is_deep


class Endless(Split):
    """So many pages came that there may be no end."""


def _no_end(part: Window, pages: int) -> ContractBroken:
    return ContractBroken(
        f"{named(part)}: {pages:,} pages and no end; raise [fetch] page_size or choose a smaller [span] "
        "resolution, if there are so many records"
    )


def _is_any_of(hashes: set[int], page: Page) -> bool:
    return bool(page.rejects) or any(hash(row[1]) in hashes for row in page.rows)


def _same_page(part: Window) -> str:
    return f"{named(part)}: the server sends the same page for every offset"
