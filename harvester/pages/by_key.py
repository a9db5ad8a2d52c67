"""A part of a window read by key: each page after the first asks for what lies behind a key of the one
before.

There is no offset, so a server may refuse deep ones, and rows that move underneath hide nothing. A page has
to show three things: each key is greater than the one that was asked for (else the server ignores it, which
is told, and no more is read in this way); the keys ascend, by more than chance (else there may be smaller
ones that were left out); and the last key of the page before is the first of this one, since it is asked for
what lies behind the last but one. So an answer that is empty for any other reason is no end, and of a record
whose copies were parted by the end of a page none is missed.

The last page is small, and that few rows ascend may be chance: it is walked by offset, by counting. Where
offsets do not work, it has to be smaller than others were, as the pages of at_once.py have.
"""

from datetime import timedelta
from itertools import pairwise
from typing import Final

from harvester.dialects import Dialect, Key, Page, Row
from harvester.errors import ServerFailed, TimedOut
from harvester.pages.asking import Asking, Split, Turn
from harvester.pages.order import LEAST_PROOF
from harvester.pages.recalls import MOST_PAGES
from harvester.pages.served import Served
from harvester.pages.walk import Verdict, Walk
from harvester.windows import Window

_OVERLAP: Final = 8
"""So many keys of a page are remembered: where the last one has moved away, the page is asked for again from
further back."""
_MOST_BEHIND: Final = 128
"""Pages behind one that was small, which is to be the last."""


class ByKey:
    def __init__(self, asking: Asking, *, dialect: Dialect, served: Served) -> None:
        self._asking = asking
        self._dialect = dialect
        self._served = served
        self._widen = timedelta(seconds=dialect.widen_s)
        self._is_order_shown = False
        """A page came by key that did not come by time as well."""

    @property
    def is_usable(self) -> bool:
        dialect = self._dialect
        return (
            self._served.seeks
            and dialect.seeks
            and dialect.paging == "offset"
            and dialect.membership == "date"
            and "order_by" in dialect.places
        )

    async def read(self, part: Window, turn: Turn) -> tuple[int, bool]:
        """Adds what comes to `turn`; how many pages were asked for, and whether that is all of the part.

        Raises Split where a page behind the first one comes too late or fails for good.
        """
        turn.begin(part)
        asked, known, page = 0, _Known(), Page(rows=[])
        while True:
            try:
                page = await self._asking.page(self._walk(part, known.bound).ask, part, asked)
            except Split:
                if known.bound is None:
                    raise
                return asked + 1, self._distrust("a filter by key is refused")
            except (ServerFailed, TimedOut) as error:
                if known.bound is None:
                    raise
                raise Split(asked + 1, error) from error
            asked += 1
            keys = [row[1] for row in page.rows]
            if known.bound is not None and any(not _lies_behind(key, known.bound) for key in keys):
                return asked, self._distrust("a filter by key lets through what lies before the key")
            if page.rejects or any(_lies_behind(one, other) for one, other in pairwise(keys)):
                return asked, False
            await turn.add(page.rows, [])
            if known.bound is None and not keys:
                return asked, True
            if known.bound is not None and (not keys or keys[0] != known.anchor):
                if not known.step_back():
                    return asked, False
                continue
            if known.bound is not None and len(keys) == 1:
                return asked + 1, await self._is_nothing_behind(keys[0], part, asked)
            if len(set(keys)) < LEAST_PROOF:
                more, is_whole = await self._finish(part, turn, known.bound, page, asked)
                return asked + more, is_whole
            if not self._shows_order(page.rows):
                return asked, False
            if asked >= MOST_PAGES:
                return asked, False  # there may be no end
            known.go_on(keys)

    def _walk(self, part: Window, after: str | int | None) -> Walk:
        """By offset, through what lies behind a key."""
        return Walk(
            part,
            widen=self._widen,
            served=self._served,
            order_by=self._dialect.key_fields[0],
            after=after,
        )

    def _distrust(self, seen: str) -> bool:
        self._served.seeks = False
        self._served.seek_seen = self._served.seek_seen or seen
        return False

    def _shows_order(self, rows: list[Row]) -> bool:
        """Keys may ascend because times do. Where both do, order has been proven before and not broken."""
        times = [row[0] for row in rows]
        if times != sorted(times):
            self._is_order_shown = True
            return True
        order_kept = self._served.order_kept
        return order_kept is True or (order_kept is None and self._is_order_shown)

    async def _finish(
        self, part: Window, turn: Turn, after: str | int | None, page: Page, asked: int
    ) -> tuple[int, bool]:
        """The rest, of which `page` is the first page."""
        walk, more = self._walk(part, after), 0
        verdict, fresh = walk.take(page)
        if not self._served.offset_ignored:
            try:
                while verdict is Verdict.MORE and more < _MOST_BEHIND:
                    behind = await self._asking.page(walk.ask, part, asked + more)
                    more += 1
                    verdict, fresh = walk.take(behind)
                    await turn.add(fresh, behind.rejects)
                if verdict is not Verdict.REPEATED:
                    return more, verdict is Verdict.END
            except (Split, ServerFailed, TimedOut):
                more += 1
        if after is None:
            return more, False
        different = list(dict.fromkeys(row[1] for row in page.rows))
        served, items = self._served, len(page.rows)
        is_cut = items >= served.whole_page or served.is_cap_moving or len(served.caps or ()) > 1
        if len(different) < 2 or is_cut or not self._shows_order(page.rows):
            return more, False
        last = await self._asking.page(self._walk(part, _bound(different[-2])).ask, part, asked + more)
        if [row[1] for row in last.rows] != different[-1:]:
            return more + 1, False
        return more + 2, await self._is_nothing_behind(different[-1], part, asked + more + 1)

    async def _is_nothing_behind(self, key: Key, part: Window, asked: int) -> bool:
        """A page with nothing but the key may have been cut there."""
        page = await self._asking.page(self._walk(part, _bound(key)).ask, part, asked)
        return not page.rows and not page.rejects


class _Known:
    """Where the next page begins."""

    def __init__(self) -> None:
        self.bound: str | int | None = None
        self.anchor: Key | None = None
        self._tail: list[Key] = []

    def go_on(self, keys: list[Key]) -> None:
        self._tail = list(dict.fromkeys(keys))[-_OVERLAP:]
        self.bound, self.anchor = _bound(self._tail[-2]), self._tail[-1]

    def step_back(self) -> bool:
        """Whether there is a key further back."""
        self._tail.pop()
        if len(self._tail) < 2:
            return False
        self.bound, self.anchor = _bound(self._tail[-2]), self._tail[-1]
        return True


def _bound(key: Key) -> str | int:
    assert not isinstance(key, tuple)  # the dialect's key is one field
    return key


def _lies_behind(key: Key, bound: Key) -> bool:
    if isinstance(key, str) and isinstance(bound, str):
        return key > bound
    return isinstance(key, int) and isinstance(bound, int) and key > bound
