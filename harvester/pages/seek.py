"""A stretch read by time: each request begins where the records of the page before ended. Pure.

Ordered by date, a page says that everything before its last record has come, however short it is. So the
next request begins there, and nothing that moves underneath can hide a record between two pages. It reaches
to the end of the next window: what a page may have left out of one window stands first on the page of the
next, and a page with nothing new is no reason to go on from anywhere else. Only the end of the stretch has to
be proven:

* by an empty page: there is nothing in its range;
* by a record from behind the end: the last requests reach a little further, so that there mostly is one;
* else by the last record of the page before (the anchor), asked for by its offset, with nothing behind it.

It holds where the server keeps the order that it is asked for, which is proven before the first page is built
upon (`proves_order`): rows that come in order by chance, with a straggler behind them, would lose that
straggler. As long as rows were too few to prove it, a page is the whole of its range where nothing stands
behind its anchor.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from harvester.dialects import Ask, Key, Page, Row
from harvester.pages.served import Served
from harvester.windows import Span

LEAST_PROOF = 8
"""Rows in a page from which its order is judged: eight stand in order by chance once in 40,000 times."""
_CUT: Final = timedelta(seconds=1)


class Step(Enum):
    """What a page did to the stretch."""

    MORE = "more"
    END = "end"
    STUCK = "stuck"
    """What stands at this instant, or in the second around it, cannot be told by time: it has to be walked by
    offset."""
    UNSORTED = "unsorted"


class Seek:
    """`ask` says what to request, `take` judges the page. `cuts` are the ends of windows in the stretch: once
    the server is known to keep its order, requests reach from one to the next."""

    def __init__(
        self,
        stretch: Span,
        *,
        widen: timedelta,
        served: Served,
        order_by: str,
        cuts: Sequence[datetime] = (),
        beyond: timedelta = timedelta(0),
    ) -> None:
        self._widen = widen
        self._beyond = max(widen, beyond)
        self._served = served
        self._order_by = order_by
        self._cuts = cuts
        self._longest: timedelta | None = None
        """What a request may reach over, where the server fails on more."""
        self._failed_on: timedelta | None = None
        """The shortest reach that failed from where reading goes on."""
        self._is_careful = False
        """Whether each reach is proven by itself, since what follows fails."""
        self._edge: set[tuple[Key, str]] = set()
        """Keys and versions that have come at the very instant of `position`."""
        self._items = 0
        """Of the page before."""
        self._asked: Ask
        self._reached_to = stretch.start
        """How far the page before was to reach."""
        self._offset = 0
        """Where the next request asks by offset for the anchor and what stands behind it; 0: it asks by time.
        """
        self._anchor: Key | None = None
        """None where the page before held but one record: it is asked for what stands behind that."""
        self._alone_at: datetime | None = None
        """Where the page asked for by time held records of one instant only, which show no order."""
        self._before: list[Key] = []
        """Keys of the page before."""
        self._listed: set[Key] = set()
        """Keys on the pages of the range that is walked by offset."""
        self.came = 0
        """Records that were new."""
        self.position = stretch.start
        """Everything before it has come."""
        self.end = stretch.end
        self.until = stretch.end
        """How far the next request reaches."""
        if served.order_kept:
            self._reach_on(stretch.start)

    @property
    def is_by_offset(self) -> bool:
        return self._offset > 0

    def ask(self) -> Ask:
        if self._offset:
            return replace(self._asked, limit=self._served.limit, offset=self._offset)
        self._asked = Ask(
            start=self.position - self._widen,
            end=self.until + (self._widen if self._is_careful or self.until < self.end else self._beyond),
            limit=self._served.limit,
            offset=0,
            order_by=self._order_by,
        )
        return self._asked

    def ask_again(self) -> Ask:
        """The range of the page before, for a look at it in another order."""
        return self._asked

    def take(self, page: Page) -> tuple[Step, list[Row]]:
        """The step, and the rows that are new; rows beyond the stretch are among them."""
        if self._offset:
            return self._take_by_offset(page)
        rows, items = page.rows, len(page.rows) + len(page.rejects)
        if not rows:
            return (Step.UNSORTED, []) if items else (self._prove(), [])
        if self._is_beside(rows[0]) or self._is_beside(rows[-1]):
            return Step.UNSORTED, []  # it goes by another range, so by another order too
        if not self._served.order_kept:
            return self._take_unproven(page)
        if not _ascends([row[0] for row in rows]):
            return Step.UNSORTED, []
        if self._edge and self._widen and self._edge_keys.isdisjoint(row[1] for row in rows):
            return Step.STUCK, []  # the records of `position` must stand there: moved, or another order
        is_shown = bool(self._edge) or rows[0][0] < rows[-1][0]
        self._alone_at = None if is_shown else rows[-1][0]
        if not is_shown and self._reaches_further(rows[-1][0]):
            return Step.MORE, []
        fresh = [
            row
            for row in rows
            if row[0] > self.position or (row[0] == self.position and (row[1], row[2]) not in self._edge)
        ]
        self._note(items, fresh)
        if not is_shown:
            return self._look_behind(page), fresh
        if rows[-1][0] >= self.until:
            return self._pass(rows), fresh
        is_cut = items >= self._served.limit
        moved = rows[-1][0] > self.position
        if is_cut and not moved and self._served.seeks:
            return Step.STUCK, []  # by key, for ties may change places between two offsets
        self._advance(rows)
        if is_cut and moved:
            return Step.MORE, fresh
        if not is_cut and self.until < self.end and not self._is_careful:
            self._reach_on(self.until)
            return Step.MORE, fresh
        if items == 1 and not fresh and self._served.offset_ignored:
            return self._prove(), fresh  # nobody cuts pages to one
        return self._look_behind(page), fresh

    def _reaches_further(self, at: datetime) -> bool:
        """A first page whose records share one instant shows no order: it may be the end of the range, turned
        round and cut. Whether there is a longer range, which brings them once more beside others."""
        if self._is_careful or self.until >= self.end:
            return False
        before = self.until
        self._reach_on(max(at, before))
        return self.until > before

    @property
    def _edge_keys(self) -> set[Key]:
        return {key for key, _ in self._edge}

    def _is_beside(self, row: Row) -> bool:
        """Outside of what was asked for, whichever way ends are cut to seconds."""
        return not self._asked.start - _CUT < row[0] < self._asked.end + _CUT

    def _take_unproven(self, page: Page) -> tuple[Step, list[Row]]:
        """Too few rows to tell whether the order is kept."""
        items = len(page.rows) + len(page.rejects)
        self._note(items, page.rows)
        if items >= self._served.limit or page.rejects:
            return Step.UNSORTED, []
        return self._look_behind(page), page.rows

    def _take_by_offset(self, page: Page) -> tuple[Step, list[Row]]:
        """Nothing but the anchor, or what the page before left out.

        Doubles, and ties in another order, show as rows that were listed before.
        """
        rows = page.rows
        if not rows and not page.rejects and self._anchor is None:
            return self._prove(), []
        if page.rejects or not rows or rows[0][1] != self._anchor:
            is_repeated = [row[1] for row in rows] == self._before
            self._served.offset_ignored |= len(rows) > 1 and is_repeated
            if not is_repeated:
                self._alone_at = None
            return self.distrust_offset(), []
        fresh = rows[1:]
        if not fresh:
            return self._prove(), []
        if not self._served.order_kept or not _ascends([row[0] for row in rows]):
            return Step.UNSORTED, []
        if any(row[1] in self._listed for row in fresh):
            return self.distrust_offset(), []
        self._note(len(rows), fresh)
        if not self._edge and rows[0][0] == rows[-1][0]:
            return self._look_behind(page), fresh  # still one instant, and no order to be seen
        if rows[-1][0] >= self.until:
            return self._pass(rows), fresh
        moved = rows[-1][0] > self.position
        self._advance(rows)
        if not moved:
            return self._look_behind(page), fresh
        self._offset = 0
        return Step.MORE, fresh

    def distrust_offset(self) -> Step:
        """The offset did not lead to the anchor: the same is asked for by time, or by a walk where it was.

        Of one instant that shows no order what lies before it comes first, lest all of that be walked second
        by second; and nobody cuts pages to one record.
        """
        self._offset = 0
        if not self._served.order_kept:
            return Step.UNSORTED
        if self._alone_at is not None:
            if self._items == 1:
                return self._prove()
            before = self._alone_at - 2 * self._widen
            if before > self.position:
                self.until = before
                return Step.MORE
        return Step.MORE if self._asked.start < self.position - self._widen else Step.STUCK

    def _look_behind(self, page: Page) -> Step:
        """Asks for the anchor by its offset with the next request."""
        if self._served.offset_ignored:
            return self.distrust_offset()
        items = len(page.rows) + len(page.rejects)
        if not self._offset:
            self._listed = set()
        self._before = [row[1] for row in page.rows]
        self._listed.update(self._before)
        self._anchor = page.rows[-1][1] if items > 1 else None
        self._offset += max(1, items - 1)
        return Step.MORE

    def _note(self, items: int, fresh: list[Row]) -> None:
        """A page was cut where a record follows inside the range that it was to cover."""
        if 0 < self._items < self._served.limit and fresh and fresh[0][0] < self._reached_to:
            self._served.note_more_followed(self._items)
        self._items = items
        self._reached_to = self.until
        self.came += len(fresh)

    def _advance(self, rows: list[Row]) -> None:
        at = rows[-1][0]
        if at > self.position:
            self.position = at
            self._edge = set()
        self._edge |= {(row[1], row[2]) for row in rows if row[0] == self.position}

    def _pass(self, rows: list[Row]) -> Step:
        """A record from behind the reach has come, so all before it."""
        self._offset = 0
        if self.until >= self.end:
            self.position = self.end
            return Step.END
        self._advance(rows)
        self._reach_on(self.position)
        return Step.MORE

    def _prove(self) -> Step:
        """Nothing follows up to where the request reached."""
        if self.until >= self.end:
            self.position = self.end
            return Step.END
        if self._longest is not None and (not self._failed_on or 2 * self._longest < self._failed_on):
            self._longest *= 2
        self.move_to(self.until)
        return Step.MORE

    def _reach_on(self, after: datetime) -> None:
        """The next request reaches to the cut that follows."""
        until = next((cut for cut in self._cuts if cut > after), self.end)
        if self._longest is not None:
            until = min(until, self.position + self._longest)
        self.until = min(until, self.end)

    def move_to(self, position: datetime) -> None:
        """Goes on from here: what lies before has come."""
        self.position = position
        self._edge = set()
        self._offset = self._items = 0
        if self.until <= position:
            self._reach_on(position)

    def skip_to(self, position: datetime) -> None:
        """Goes on from here, what lies before was given up. Reaches grow again with each that comes."""
        self._failed_on = None
        self.move_to(position)

    def reach_far(self) -> None:
        """Lengths are no matter: reaches end with windows again, and not where one that failed was halved."""
        self._longest = self._failed_on = None

    def trim(self, end: datetime) -> None:
        """Gives the rest of the stretch back; never what has come already."""
        self.end = self.until = max(end, self.position)
        self._offset = 0

    def stop(self) -> None:
        """Gives back the windows of the stretch of which nothing has come."""
        cut = next((cut for cut in self._cuts if cut > self.position), self.end)
        if cut < self.end:
            self.trim(cut)

    def halve(self, floor: timedelta) -> bool:
        """Reaches half as far with the next request, or to the end of the window under way where it reached
        over that; whether it was longer than `floor`."""
        self._offset = 0
        self._is_careful = True
        cut = next((cut for cut in self._cuts if cut > self.position), self.end)
        if cut < self.until:
            self.until = cut
            return True
        length = self.until - self.position
        if length <= floor:
            return False
        self._failed_on = length
        self._longest = timedelta(milliseconds=max(1, length // timedelta(milliseconds=2)))
        self.until = self.position + self._longest
        return True


def proves_order(by_date: Page, by_key: Page) -> bool | None:
    """Whether two pages of one range, asked for in two orders, show that the server keeps the order asked
    for.

    None: the rows do not tell, being too few, or in both orders at once.
    """
    dated, keyed = by_date.rows, by_key.rows
    if len(dated) < LEAST_PROOF or len(keyed) < LEAST_PROOF:
        return None
    if not _ascends([row[0] for row in dated]) or not _ascends([row[1] for row in keyed]):
        return False
    if _ascends([row[1] for row in dated]) or _ascends([row[0] for row in keyed]):
        return None
    return True


def _ascends(values: list[datetime] | list[Key]) -> bool:
    return values == sorted(values)  # not by a generator, which costs a call for each row
