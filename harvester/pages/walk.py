"""One pass over one window by offset. Pure: it says what to ask next and judges the page that comes.

Each page after the first begins with the last record of the one before, the anchor. Where that record does
not stand there, rows moved underneath and the pass is worth nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import Enum

from harvester.dialects import Ask, Key, Page, Row
from harvester.pages.served import Served
from harvester.windows import Window


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
