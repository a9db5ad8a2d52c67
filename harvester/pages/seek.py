"""A stretch read by time: each request begins where the records of the page before ended. Pure.

Ordered by date, a full page says that everything before its last record has come; so the next request
begins there, without an offset, and nothing that moves underneath can hide a record between two pages. A
page is never thrown away, and only the last one of a stretch is not full.

It holds where the server keeps the order that it is asked for, which is proven before the first page is
built upon (`proves_order`): rows that come in order by chance, with a straggler behind them, would lose
that straggler.
"""

from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from harvester.dialects import Ask, Key, Page, Row
from harvester.pages.served import Served
from harvester.windows import Span

LEAST_PROOF = 8
"""Rows in a page from which its order is judged: eight stand in order by chance once in 40,000 times."""


class Step(Enum):
    """What a page did to the stretch."""

    MORE = "more"
    END = "end"
    STUCK = "stuck"
    """One instant, with the second around it, holds more than a page: it has to be walked by offset."""
    UNSORTED = "unsorted"


class Seek:
    def __init__(self, stretch: Span, *, widen: timedelta, served: Served, order_by: str) -> None:
        self._widen = widen
        self._served = served
        self._order_by = order_by
        self._edge: set[tuple[Key, str]] = set()
        """Keys and versions that have come at the very instant of `position`."""
        self._items = 0
        """Of the page before."""
        self.trusts_order = False
        """Whether what `take` said of the last page holds only where the server keeps the order asked for."""
        self.position = stretch.start
        """Everything before it has come."""
        self.end = stretch.end
        self.until = stretch.end
        """How far the next request reaches: nearer than `end` where the server fails on long ranges."""

    def ask(self) -> Ask:
        self._asked = Ask(
            start=self.position - self._widen,
            end=self.until + self._widen,
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
        rows = page.rows
        items = len(rows) + len(page.rejects)
        self.trusts_order = not self._served.is_last(items)
        if self.trusts_order and any(one[0] > other[0] for one, other in pairwise(rows)):
            return Step.UNSORTED, []
        fresh = [
            row
            for row in rows
            if row[0] > self.position or (row[0] == self.position and (row[1], row[2]) not in self._edge)
        ]
        if self._items and fresh:
            self._served.note_more_followed(self._items)
        self._items = items
        if not self.trusts_order or (rows and rows[-1][0] >= self.until):
            return self._reached(), fresh
        if not rows or rows[-1][0] <= self.position:
            return Step.STUCK, fresh
        self.move_to(rows[-1][0])
        self._edge = {(row[1], row[2]) for row in rows if row[0] == self.position}
        return Step.MORE, fresh

    def _reached(self) -> Step:
        if self.until >= self.end:
            self.position = self.end
            return Step.END
        self.move_to(self.until)
        return Step.MORE

    def move_to(self, position: datetime) -> None:
        """Goes on from here: what lies before has come, or has been given up."""
        self.position = position
        self._edge = set()
        if self.until <= position:
            self.until = self.end

    def trim(self, end: datetime) -> None:
        """Gives the rest of the stretch back; never what has come already."""
        self.end = self.until = max(end, self.position)

    def halve(self, floor: timedelta) -> bool:
        """Reaches half as far with the next request; whether it was longer than `floor`."""
        length = self.until - self.position
        if length <= floor:
            return False
        half = timedelta(milliseconds=max(1, length // timedelta(milliseconds=2)))
        self.until = self.position + half
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
    return all(not other < one for one, other in pairwise(values))  # type: ignore[operator]
