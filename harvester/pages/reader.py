"""A window becomes pages: the offset walk, its proof of the end, and what it does when the ground moves.

The server gives no total and no next link, so the end of a window has to be proven:

* The walk asks wider than the window on both sides, so inclusive, exclusive or second-cut ends make no
  difference.
* Each page after the first begins with the last records of the one before (overlap.py). Where they do not
  stand there, rows moved underneath: the window is read again, and if that goes on, walks are united
  (uniting.py), or the window is cut into halves.
* A short page is no end, for a server may cut pages without a word, and differently each time. The end is an
  empty page.
* Where the server can be asked for what lies behind a key, pages go on there and not at an offset
  (by_key.py).
* Where offsets are ignored or refused, halves take the place of the overlap (at_once.py).

`Walk` decides and does no I/O: it says what to ask next and takes the page. `Pages` is the loop around it,
and stretches.py the one for stretches that are read by time.
"""

from collections.abc import Set
from datetime import timedelta
from typing import Final

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.errors import Moved, ServerFailed, SourceError, TimedOut
from harvester.events import Emit, RowsMoved, WindowSplit
from harvester.pages.asking import Asking, Split, Turn, named
from harvester.pages.at_once import AtOnce
from harvester.pages.by_key import ByKey
from harvester.pages.offsets import try_out
from harvester.pages.recalls import SAME_PAGES, Endless, Recalls, same_page
from harvester.pages.served import Served
from harvester.pages.uniting import Uniting
from harvester.pages.walk import Passes, Verdict, Walk
from harvester.transport import Layer
from harvester.windows import Window

REREADS: Final = 1
"""How often a window whose rows moved is read again before walks are united: a late record moves rows once,
ties that change their order between calls move them on every reading.
"""
FLOOR_S: Final = 1.0
"""Windows are not halved below this, since every request is wider than its window by about as much."""
MOST_REQUESTS: Final = 1000
MOST_A_RECORD: Final = 200
"""So many requests a window may cost, and so many more for each record that came, while its rows move: each
level of halves, some dozen down to a second, is walked several times. A server that answers each range
with the same rows would be asked for every second of it."""
_ENDLESS_HALVES: Final = 4
"""A window of more pages than a walk may have is halved, but not for ever: a source may make up records
without end."""


class Pages:
    """Reads windows page by page. What is learned of the server is kept in `served`, which all share."""

    def __init__(self, layer: Layer[Ask, Page], *, dialect: Dialect, served: Served, emit: Emit) -> None:
        self._asking = Asking(layer, served)
        self._dialect = dialect
        self._served = served
        self._emit = emit
        self._widen = timedelta(seconds=dialect.widen_s)
        self._at_once = AtOnce(self._asking, dialect=dialect, served=served)
        self._uniting = Uniting(self._asking, widen=self._widen, served=served)
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
        asked, moved, repeated, passes, counted, is_united = 0, 0, 0, Passes(), None, False
        if self._by_key.is_usable:
            asked, is_whole = await self._by_key.read(part, turn)
            if is_whole:
                return asked
        if self._served.offset_ignored:
            return asked + await self._read_at_once(part, turn, same_page(part))
        while moved <= REREADS:
            walk = Walk(part, widen=self._widen, served=self._served)
            try:
                verdict, pages = await self._walk(walk, part, turn)
            except DeepRefused as refused:
                asked += refused.asked
                if refused.is_deep:
                    raise Split(asked, refused.reason) from None
                return asked + await self._read_at_once(part, turn, refused.reason, walk.keys)
            asked += pages
            if verdict is Verdict.END:
                return asked
            if verdict is Verdict.DOUBLED:
                if counted is not None and counted <= walk.keys:
                    return asked
                if walk.is_ordered and passes.prove(walk.signature, walk.positions):
                    return asked
                counted = walk.counted
                is_quick = counted is not None or passes.is_quick(walk.positions)
                if not walk.is_ordered or not (is_quick or is_united):
                    more, is_whole = await self._unite(part, turn, walk, around)
                    asked += more
                    if is_whole:
                        return asked
                    if not walk.is_ordered:
                        raise Split(
                            asked, Moved(f"{named(part)}: records came twice, in no order"), walk.keys
                        )
                    is_united = True
                if passes.agree:
                    continue
            if verdict is Verdict.REPEATED:
                repeated += max(1, walk.repeats)
                if repeated < (2 if walk.page_rows >= 8 else SAME_PAGES):
                    continue
                if self._can_halve(part) or self._served.offset_works:
                    asked += await try_out(
                        walk.at, walk.knows, walk.page_rows, part, asking=self._asking, served=self._served
                    )
                return asked + await self._read_at_once(part, turn, same_page(part))
            moved += 1
            if moved <= REREADS:
                self._emit(RowsMoved(start=part.start, end=part.end))
        more, is_whole = await self._unite(part, turn, walk, None)
        if is_whole:
            return asked + more
        raise Split(asked + more, Moved(f"{named(part)}: rows moved"), walk.keys)

    async def _unite(self, part: Window, turn: Turn, walk: Walk, around: set[int] | None) -> tuple[int, bool]:
        """Where one walk proved nothing: several of them, unless it would take too many and halves may do. A
        half that brings what the whole brought will not do with fewer, and where nothing of that lies inside
        of it, nor will its halves.
        """
        can_halve, is_same = self._can_halve(part), walk.keys == around
        if can_halve and is_same and walk.is_inside:
            return 0, False
        return await self._uniting.read(
            part,
            turn,
            can_halve=can_halve and not is_same,
            is_patient=not walk.is_inside,
            counted=walk.counted,
        )

    async def _walk(self, walk: Walk, part: Window, turn: Turn) -> tuple[Verdict, int]:
        turn.begin(part)
        recalls, asked, is_deep = Recalls(self._asking, part), 0, False
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
            del page, fresh  # else they would stay in memory beside the next page
            if verdict is not Verdict.MORE:
                return verdict, asked
            if self._served.offset_ignored:
                return Verdict.REPEATED, asked
            asked += await recalls.after(asked, walk.at(walk.position // 2), walk.knows)

    async def _read_at_once(
        self, part: Window, turn: Turn, reason: SourceError, came: Set[int] = frozenset()
    ) -> int:
        """Where no offset shows what stands behind a page. Split: each half is read by itself. In what cannot
        be halved any more offsets are tried to the end."""
        turn.begin(part)
        asked, is_whole = await self._at_once.read(part, turn, can_halve=self._can_halve(part), came=came)
        if is_whole:
            return asked
        if self._can_halve(part):
            raise Split(asked, reason)
        return asked + (await self._uniting.read(part, turn, can_halve=False))[0]


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
