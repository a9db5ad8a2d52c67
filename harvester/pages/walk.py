"""One pass over one window by offset. Pure: it says what to ask next and judges the page that comes.

Each page after the first begins with the last records of the one before, the overlap. Where they do not
stand there, rows moved underneath and the pass is worth nothing. So the rows of a pass are those of
neighbouring positions from the first to the last; if no record stands among them twice, each position was
another record, and all have come, whatever the order did between two pages. A record that one answer holds
twice stands at two positions and hides none. Where one stands twice otherwise, either the source holds it
twice, or another one slipped away in its place: a second pass that goes the same way tells, and both halves
where the rows came in no order (`Verdict.DOUBLED`). The end is an empty page, with the overlap in front of
it before and after: any other may have been cut.
"""

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from math import lgamma, log
from typing import Any, Final

from harvester.dialects import Ask, Key, Page, Row
from harvester.pages.overlap import RECENT, end_of_overlap, overlap_of, remembered
from harvester.pages.served import Served
from harvester.windows import Window

MOST_DOUBLES: Final = 16
"""A record may stand this often in a source before its pages are taken for pages of nothing."""
_FIRST_LOOK: Final = 32
"""Positions after which it is counted for the first time how many records stand at them; then each time that
there are twice as many."""
_COUNTED: Final = 100_000
"""So many hashes or less than twice as many are counted at a time."""
_SURE: Final = 12 * log(10)
_KEY: Final = slice(1, 2)
_TIME_AND_KEY: Final = slice(0, 2)


class Verdict(Enum):
    """What a page did to the walk."""

    MORE = "more"
    END = "end"
    DOUBLED = "doubled"
    """The end, but a record came on two pages, fewer records than positions came, or two pages did not
    overlap. Compare `signature` with that of another pass, and where not `is_ordered` also `keys` with those
    of both halves: passes over the same may agree in what they leave out."""
    MOVED = "moved"
    REPEATED = "repeated"
    """The same page came for another offset, or a few records for more positions than they can stand at."""


class Passes:
    """Whether passes that all went the same way prove that the order stood still.

    In an order that changes by chance n rows come the same way again once in n! passes. So many passes are
    wanted that chance is left one in 10^12: for a page and more that is a second one, for three rows it is
    a dozen, for two and for one 41.
    """

    def __init__(self) -> None:
        self._signature: int | None = None
        self._again = 0

    @property
    def agree(self) -> bool:
        """Whether there is only one way so far."""
        return self._again >= 0

    @staticmethod
    def is_quick(positions: int) -> bool:
        """Whether a second pass is enough."""
        return lgamma(positions + 1) >= _SURE

    def prove(self, signature: int, positions: int) -> bool:
        if self._signature is None:
            self._signature = signature
        elif self._again >= 0 and signature == self._signature:
            self._again += 1
        else:
            self._again = -1
        return self._again > 0 and self._again * lgamma(max(2, positions) + 1) >= _SURE


class Walk:
    """`ask` says what to request, `take` judges the page."""

    def __init__(
        self,
        window: Window,
        *,
        widen: timedelta,
        served: Served,
        order_by: str | None = None,
        after: str | int | None = None,
        most: int | None = None,
    ) -> None:
        """`after`: of the window only what lies behind this key. `most` records a page, where that is fewer
        than what is asked for at present."""
        self._most = most
        self._window = window
        self.is_inside = False
        """Whether any record of the window itself came."""
        self._order_by = order_by
        self._after = after
        self._start = window.start - widen
        self._end = window.end + widen
        self._served = served
        self._position = 0
        """Where the last row of the page before stands, as far as is known; where there is no overlap, the
        position behind it."""
        self._overlap: list[Key] = []
        """What the next page has to begin with: the last row of the page before, and where it is told by
        ties alone from those that follow, more of them."""
        self._is_strict = False
        self._is_behind = False
        """Whether the next page is asked for from behind the overlap on."""
        self._aside: Page | None = None
        """That page, until the overlap has been seen once more in front of it."""
        self._versions: dict[Key, str] = {}
        """Of the page before."""
        self._before: frozenset[Key] = frozenset()
        """Keys of the page before."""
        self._listed: list[Key] = []
        """The same, in their order."""
        self._slack = 0
        """Rows that may stand before it: doubles and rejects of the page before blur its position."""
        self._last: Row | None = None
        self._recent: list[Row] = []
        """The last ones of those that follow each other."""
        self._items = 0
        """Of the page before."""
        self._rejects: set[bytes] = set()
        self._is_begun = self.is_over = False
        self._is_blind = False
        """Whether rows may have moved unseen, since two pages do not overlap, or in ties alone."""
        self._hashes = array("q")
        """One for each position of the pass, but for doubles inside one answer."""
        self._copies: dict[Key, int] = {}
        """Of records that one answer held more than once: how many more."""
        self._columns: slice | None = None
        """By what the first page of more than one record ascended: its keys, or its times and keys."""
        self._is_broken = False
        """Whether a page came otherwise."""
        self._alone = array("q")
        """Hashes of records that were alone on their page, but for copies."""
        self._look_at = _FIRST_LOOK
        self._stale = 0
        """Pages in a row with no record but of the page before: so one record stands on all of them."""
        self.repeats = 0
        """How many pages of nothing else are behind a verdict of REPEATED."""

    @property
    def positions(self) -> int:
        return len(self._hashes)

    @property
    def keys(self) -> set[int]:
        """Hashes of all that came."""
        return set(self._hashes)

    @property
    def counted(self) -> set[int] | None:
        """The same, where no more rows stood there at the end of the walk than so many."""
        rows = self._position + (1 if self._overlap else 0)
        different = self.keys
        return different if self.is_over and len(different) >= rows and not self._rejects else None

    @property
    def is_ordered(self) -> bool:
        """Whether all pages came by key, or all by time and key. A page that came the other way round may
        show what another one has shown already; and a record alone on its page shows no order, so where it
        came twice it may have come from another end."""
        return self._columns is not None and not self._is_broken

    @property
    def page_rows(self) -> int:
        """Of the page before."""
        return len(self._listed)

    @property
    def signature(self) -> int:
        return hash(self._hashes.tobytes())

    @property
    def offset(self) -> int:
        """Where the next page begins."""
        if self._is_behind:
            return self._position + 1
        return self._position - max(0, len(self._overlap) - 1)

    def ask(self) -> Ask:
        return Ask(
            start=self._start,
            end=self._end,
            limit=self._served.limit if self._most is None else min(self._most, self._served.limit),
            offset=self.offset,
            order_by=self._order_by,
            after=self._after,
        )

    @property
    def position(self) -> int:
        """How far the walk has come."""
        return self._position

    def at(self, position: int) -> Callable[[], Ask]:
        """The same request from another offset."""
        return lambda: replace(self.ask(), offset=position)

    def take(self, page: Page) -> tuple[Verdict, list[Row]]:
        """The verdict, and the rows that are new (the overlap and what stands before it are not, but where
        they come in another version)."""
        rows = page.rows
        items = len(rows) + len(page.rejects)
        if self._is_behind:
            return self._take_behind(page, items)
        if not self._overlap:
            if items == 0:
                return self._ended(), []
            if not rows and self._rejects.issuperset(one.raw for one in page.rejects):
                return self._ended(), []  # the server adds them to every page
            self._is_blind = self._is_blind or self._is_begun
            self._recent = []
            self._is_begun = True
            return self._go_on(page, rows, 0)
        if items == 0:
            return Verdict.MOVED, []  # where the overlap must stand, nothing stands
        places = [
            end_of_overlap(rows[n:], self._overlap, is_strict=self._is_strict) for n in range(self._slack + 1)
        ]
        place = next((n for n, end in enumerate(places) if end > 0), -1)
        if place < 0 and 0 < items == len(rows) < len(self._overlap) and self._is_cut_short(rows):
            self._overlap, self._is_strict, self._is_blind = self._overlap[-1:], True, True
            return Verdict.MORE, []
        if place < 0:
            self.repeats = int(len(rows) > 1 and [row[1] for row in rows] == self._listed)
            return (Verdict.REPEATED if self.repeats else Verdict.MOVED), []
        if any(row[1] not in self._before for row in rows[:place]):
            return Verdict.MOVED, []
        first = place + places[place]
        newer = [row for row in rows[:first] if self._versions.get(row[1], row[2]) != row[2]]
        if self._aside is not None:
            page, self._aside = self._aside, None
            behind = {row[1]: row[2] for row in page.rows}
            newer += [row for row in rows[first:] if behind.get(row[1], row[2]) != row[2]]
            if not page.rows and not page.rejects:
                if rows[first:]:
                    return Verdict.MOVED, []  # by now there is something behind it
                self._served.note_offset_led_on()
                return self._ended(), newer
            self._position, self._overlap = self._position + 1, []
            verdict, fresh = self._go_on(page, page.rows, 0)
        else:
            verdict, fresh = self._go_on(page, rows[first:], first, copies=places[place] - len(self._overlap))
        return verdict, [*newer, *fresh]

    def _is_cut_short(self, rows: list[Row]) -> bool:
        """Whether the page may hold too few rows for the overlap."""
        return rows[0][1] == self._overlap[0] and {row[1] for row in rows} <= set(self._overlap)

    def _take_behind(self, page: Page, items: int) -> tuple[Verdict, list[Row]]:
        """An answer with nothing but the overlap is no end: it may have been cut there. It is the end where
        nothing stands behind it. What does stand there, or nothing, is taken when the overlap has been seen
        in front of it before and after.
        """
        self._is_behind = False
        if len(page.rows) > 1 and [row[1] for row in page.rows] == self._listed:
            self.repeats = 1
            return Verdict.REPEATED, []
        self._aside = page
        return Verdict.MORE, []

    def _go_on(self, page: Page, fresh: list[Row], first: int, copies: int = 0) -> tuple[Verdict, list[Row]]:
        """`fresh` are the page's rows from index `first` on, behind the overlap and `copies` of its rows."""
        items = len(page.rows) + len(page.rejects)
        asked_at = self.offset
        here: set[Key] = set(self._overlap)
        last, new = self._overlap[-1] if self._overlap else None, 0
        for row in fresh:
            key = row[1]
            if key in here:
                continue
            here.add(key)
            self._hashes.append(hash(key))
            if key not in self._before:
                last = key
                new += 1
        if new and self._most is None and 0 < self._items < self._served.limit:
            self._served.note_more_followed(self._items)
        self._items = items
        self.is_inside = self.is_inside or any(self._window.contains(row[0]) for row in fresh)
        self._rejects |= {one.raw for one in page.rejects}
        if items == first == len(self._overlap) > 0:
            self._is_behind = True
            return Verdict.MORE, []
        keys = frozenset(row[1] for row in page.rows)
        if len(keys) < len(page.rows):
            for key, times in Counter(row[1] for row in page.rows).items():
                if times > 1:
                    self._copies[key] = max(times - 1, self._copies.get(key, 0))
        # From a page that was asked for from behind the overlap on, it has to go on from there.
        in_a_row = page.rows if first or self._last is None else [self._last, *page.rows]
        if len({row[1] for row in in_a_row}) > 1:
            self._judge_order(in_a_row)
        if len(keys) == 1 and not page.rejects:
            self._alone.extend(map(hash, keys))
        self._last = remembered(page.rows[-1:])[0] if page.rows else None
        if new == 0 or (len(keys) == 1 < items and not page.rejects):
            self._step_over(page, items)
        elif len(keys) == 1 and page.rejects:
            self._position, self._overlap, self._slack = self._position + 1 + len(page.rejects), [], 0
        else:
            assert last is not None
            self._position += new + (first - len(self._overlap) - copies if self._overlap else -1)
            self._slack = len(page.rejects) + len(fresh) - new + copies
            self._overlap, self._is_strict = [last], True
            # A single record would come again. And where no page so short was cut, this may well be the end.
            self._is_behind = not self._slack and (items == 1 or self._served.may_be_last(items))
            self._look_further_back(fresh, len(page.rows), asked_at)
        self._before = keys
        self._versions = {row[1]: row[2] for row in page.rows}
        self._listed = [row[1] for row in page.rows]
        self._stale = self._stale + 1 if page.rows and not new else 0
        if self._stale > MOST_DOUBLES or self._is_round_and_round(items):
            self.repeats = MOST_DOUBLES
            return Verdict.REPEATED, fresh
        return Verdict.MORE, fresh

    def _judge_order(self, rows: list[Row]) -> None:
        if not self._is_broken:
            orders = (_KEY, _TIME_AND_KEY) if self._columns is None else (self._columns,)
            self._columns = next((order for order in orders if _ascends(rows, order)), None)
            self._is_broken = self._columns is None

    def _is_round_and_round(self, items: int) -> bool:
        """Whether so few records would have to stand at so many positions that the walk will never end: the
        same page for every offset, one record of a few at a time, or pages in a ring."""
        if self._position < self._look_at:
            return False
        self._look_at = 2 * self._position
        share = 1 + len(self._hashes) // _COUNTED  # one hash in so many is counted, so that memory is bounded
        sample = {one for one in self._hashes if one % share == 0} if share > 1 else set(self._hashes)
        different = len(sample) * share + len(self._rejects)
        return self._position > MOST_DOUBLES * (different + items)

    def knows(self, page: Page) -> bool:
        """Whether anything on the page has come before in this walk."""
        return not {hash(row[1]) for row in page.rows}.isdisjoint(self._hashes) or any(
            one.raw in self._rejects for one in page.rejects
        )

    def _step_over(self, page: Page, items: int) -> None:
        """A whole page of doubles or rejects proves nothing, and asking from its anchor would bring it
        again.
        """
        first = self.offset
        if page.rows and items > 1 and not page.rejects:
            self._position = first + items - 1
            self._overlap, self._is_strict, self._slack = [page.rows[-1][1]], True, len(page.rejects)
        else:
            self._position, self._overlap, self._slack = first + items, [], 0

    def _look_further_back(self, fresh: list[Row], there: int, asked_at: int) -> None:
        """Where one row is too little, and more do not take up too much of the page, of so many rows from
        that offset on: with copies between them they may be all of it, and it would come again."""
        known = set(self._before)
        for row in remembered(fresh):  # a copy at the end of an answer is not the last one of its rows
            if row[1] not in known:
                known.add(row[1])
                self._recent.append(row)
        del self._recent[: -max(RECENT, len(fresh))]
        wanted, is_held = overlap_of(self._recent)
        is_full = there >= min(self._served.limit, self._served.whole_page)
        is_all = self._slack > 0 and self._position - wanted < asked_at
        if is_all or (is_full and there > 1 and wanted > (there // 2 if there >= 16 else there - 1)):
            self._is_blind = True
            return
        self._overlap, self._is_strict = [row[1] for row in self._recent[-wanted:]], not is_held
        self._is_blind |= not is_held and self._position >= len(self._recent)

    def _ended(self) -> Verdict:
        self.is_over = True
        different = Counter(self._hashes)
        self._is_broken |= any(different[one] > 1 for one in self._alone)
        if self._is_blind:
            return Verdict.DOUBLED
        if not self._overlap or self._rejects:  # rejects blur how many positions there are
            return Verdict.DOUBLED if len(different) < len(self._hashes) else Verdict.END
        if len(different) < len(self._hashes):
            copied = {hash(key) for key in self._copies}
            if any(times > 1 and key not in copied for key, times in different.items()):
                return Verdict.DOUBLED
        # The last page began at this position, so there are so many and one.
        if len(different) + sum(self._copies.values()) <= self._position:
            return Verdict.DOUBLED
        return Verdict.END


def _ascends(rows: list[Row], columns: slice) -> bool:
    values: list[Any] = [row[columns] for row in rows]
    try:
        return values == sorted(values)
    except TypeError:  # keys of two kinds
        return False
