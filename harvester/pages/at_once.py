"""A part of a window in one page, where offsets are ignored or refused: what shows that nothing was cut off.

A page that was cut lacks records of one half at least; so it is whole where both halves are smaller and hold
together just what it holds. That is certain as long as pages are cut to one size. A server that cuts each
page to another size may cut both halves to just what the whole page holds, so the size is tried first: the
same range, a little wider each time, has to bring as much on each of `TRIALS` requests. It is done for pages
larger than those it was done for before, so that a run pays for it a few times.

Where the size changes, halves prove nothing, and only what nobody can cut does: no item at all. One record is
whole where there is none before it, none behind it, and the same one in another order.
"""

from collections import Counter
from collections.abc import Set
from datetime import timedelta
from functools import partial
from typing import Final

from harvester.dialects import Ask, Dialect, Key, Page, Row
from harvester.pages.asking import Asking, Turn
from harvester.pages.offsets import WIDER
from harvester.pages.served import Served
from harvester.windows import Window

TRIALS: Final = 12
"""Of a server that cuts its pages to one of two sizes, by chance, one in 4096 cuts all of these to the same.
"""
_CUT: Final = timedelta(seconds=1)
_STEPS: Final = (timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1))
"""By how much a range is made wider: the first that is another range in the source's own words."""


class AtOnce:
    def __init__(self, asking: Asking, *, dialect: Dialect, served: Served) -> None:
        self._asking = asking
        self._dialect = dialect
        self._served = served
        self._widen = timedelta(seconds=dialect.widen_s)

    async def read(
        self, part: Window, turn: Turn, *, can_halve: bool, came: Set[int] = frozenset()
    ) -> tuple[int, bool]:
        """Adds what a part brings at once to `turn`; how many pages were asked for, and whether that is all
        of it: what `came` for the part before, by hashes of keys, has to be there too. What cannot be halved
        is asked for in another order instead: it is whole where the same comes and larger pages were seen.
        """
        page = await self._page(part, 0)
        asked, served = 1, self._served
        items = _items(page)
        await turn.add(page.rows, page.rejects)
        if any(self._is_beside(row, part) for row in page.rows):
            return asked, False  # the range is ignored as well
        if not came <= {hash(row[1]) for row in page.rows}:
            return asked, False
        if items == 0:
            return asked, True
        if items >= served.whole_page and (items == 1 or not can_halve):
            asked += await self._look_for_larger(part, items, asked)
        is_full = items >= served.limit or items in (served.caps or ())
        if len(page.rows) == items == 1 < served.whole_page and not is_full:
            if served.has_changed and not served.steady:  # it may have cut pages to one
                trials, is_steady = await self._try(part, page, asked)
                asked += trials
                if not is_steady:
                    return asked, False
            return await self._alone(part, page.rows[0], asked)
        if is_full or served.is_cap_moving:
            return asked, False
        if items > served.steady:
            trials, is_steady = await self._try(part, page, asked)
            asked += trials
            if not is_steady:
                return asked, False
        whole = {row[1] for row in page.rows}
        if can_halve:
            return await self._halves(part, turn, whole, items, asked)
        order = self._dialect.date_field if "order_by" in self._dialect.places else None
        again = await self._page(part, asked, order_by=order)
        await turn.add(again.rows, again.rejects)
        is_cut = len(served.caps or ()) > 1 or items >= served.whole_page
        return asked + 1, not is_cut and {row[1] for row in again.rows} == whole

    async def _look_for_larger(self, part: Window, items: int, asked: int) -> int:
        """Where no page held more than these items so far, one of a wider range may: then pages are not cut
        to so few. How many pages were asked for.
        """
        tried = 0
        for wider in WIDER if self._dialect.membership == "date" else ():
            await self._page(part, asked + tried, wider=wider)
            tried += 1
            if self._served.whole_page > items:
                break
        return tried

    async def _alone(self, part: Window, row: Row, asked: int) -> tuple[int, bool]:
        """Whether a record is all there is: where nothing is before it and nothing behind it, and where it
        comes in another order too. A page may have been cut to it, which an offset would show: it is not
        believed where offsets work.
        """
        if self._dialect.membership != "date":
            return asked, True
        if self._served.offset_works:
            return asked, False
        around = self._widen + _CUT
        rest = ((part.start - self._widen, row[0] - around), (row[0] + around, part.end + self._widen))
        for start, end in rest:
            if start < end:
                ask = Ask(start=start, end=end, limit=self._served.limit, offset=0, order_by=None)
                page = await self._asking.page(partial(_this, ask), part, asked)
                asked += 1
                if _items(page):
                    return asked, False
        order = self._dialect.date_field if "order_by" in self._dialect.places else None
        again = await self._page(part, asked, order_by=order)
        return asked + 1, [one[1] for one in again.rows] == [row[1]]

    def _is_beside(self, row: Row, part: Window) -> bool:
        """Whether a record lies outside of what was asked for, whichever way ends are cut to seconds."""
        wide = self._widen + _CUT
        return self._dialect.membership == "date" and not part.start - wide < row[0] < part.end + wide

    async def _halves(
        self, part: Window, turn: Turn, whole: set[Key], items: int, asked: int
    ) -> tuple[int, bool]:
        both: set[Key] = set()
        smaller_both = True
        for half in part.halves():
            there = await self._page(half, asked)
            await turn.add(there.rows, there.rejects)
            keys = {row[1] for row in there.rows}
            smaller_both &= len(keys) < len(whole) and _items(there) < items
            both |= keys
            asked += 1
        if both > whole:
            self._served.note_more_followed(items)
        return asked, both == whole and smaller_both and not self._served.is_cap_moving

    async def _try(self, part: Window, page: Page, asked: int) -> tuple[int, bool]:
        """Whether the page comes again from ranges that are wider by next to nothing."""
        start, end = part.start - self._widen, part.end + self._widen

        def inside(one: Page) -> Counter[Key]:
            return Counter(row[1] for row in one.rows if start < row[0] < end)

        served, wanted, step = self._served, inside(page), self._step(part)
        for trial in range(1, TRIALS + 1):
            again = await self._page(part, asked + trial - 1, wider=trial * step)
            if inside(again) != wanted:
                served.is_cap_moving |= _items(again) != _items(page)
                return trial, False
        served.steady = max(served.steady, _items(page))
        return TRIALS, True

    def _step(self, part: Window) -> timedelta:
        if self._dialect.membership == "date":
            asked = self._dialect.request(self._ask(part))
            for step in _STEPS:
                if self._dialect.request(self._ask(part, wider=step)) != asked:
                    return step
        return timedelta(0)

    def _ask(self, part: Window, *, wider: timedelta = timedelta(0), order_by: str | None = None) -> Ask:
        widen = self._widen + wider
        return Ask(
            start=part.start - widen,
            end=part.end + widen,
            limit=self._served.limit,
            offset=0,
            order_by=order_by,
        )

    async def _page(
        self, part: Window, asked: int, *, wider: timedelta = timedelta(0), order_by: str | None = None
    ) -> Page:
        return await self._asking.page(lambda: self._ask(part, wider=wider, order_by=order_by), part, asked)


def _this(ask: Ask) -> Ask:
    return ask


def _items(page: Page) -> int:
    return len(page.rows) + len(page.rejects)
