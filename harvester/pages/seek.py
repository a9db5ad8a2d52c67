"""A stretch read by time: each request begins where the records of the page before ended. Pure.

Ordered by date, a page says that everything before its last record has come, however short it is. So the
next request begins there, and nothing that moves underneath can hide a record between two pages. It reaches
to the end of the next window: what a page may have left out of one window stands first on the page of the
next, and a page with nothing new is no reason to go on from anywhere else. Only the end of the stretch has to
be proven:

* by an empty page: there is nothing in its range;
* by a record from behind the end: the last requests reach a little further, so that there mostly is one;
* else by an empty answer from behind the last record, by offset, and the end of the page before (the overlap)
  in its place once more.

It holds where the server keeps the order that it is asked for, which is proven before the first page is built
upon (`proves_order`): rows that come in order by chance, with a straggler behind them, would lose that
straggler. As long as rows were too few to prove it, a page is the whole of its range where nothing stands
behind its last row.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from harvester.dialects import Ask, Key, Page, Row
from harvester.pages.doubt import MOST_DOUBTS, Doubt
from harvester.pages.order import FAR_ROWS, ascends, is_surprising
from harvester.pages.overlap import RECENT, begins_with, overlap_of, remembered
from harvester.pages.served import Served
from harvester.pages.steps import Look, Step
from harvester.pages.versions import Versions
from harvester.windows import Span

_CUT: Final = timedelta(seconds=1)
FAR: Final = timedelta(days=3)
"""Over a weekend."""


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
        horizon: datetime | None = None,
    ) -> None:
        """`horizon`: no request need reach further to find a record that proves the end."""
        self._widen = widen
        self._horizon = horizon or stretch.end
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
        self._far: Ask
        self._near: Page
        """What came before it was looked far over the end."""
        self._reached_to = stretch.start
        """How far the page before was to reach."""
        self._look = Look.BY_TIME
        self._last = 0
        """At which offset the last row of the page before stands."""
        self._overlap: list[Key] = []
        """What the page that is asked for by offset has to begin with."""
        self._is_strict = False
        self._recent: list[Row] = []
        """What came last by offset."""
        self._aside = Page(rows=[])
        """What stands behind it, until it has been seen once more."""
        self._doubt = Doubt()
        self._alone_at: datetime | None = None
        """Where the page asked for by time held records of one instant only, which show no order."""
        self._looked_before: datetime | None = None
        """The position at which what lies before such an instant was asked for."""
        self._is_alone = False
        """Whether it was one record."""
        self._before: list[Key] = []
        """Keys of the page before."""
        self._listed: set[Key] = set()
        """Keys on the pages of the range that is walked by offset."""
        self._versions = Versions(widen)
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
        return self._look is not Look.BY_TIME

    def ask(self) -> Ask:
        if self._look is Look.FAR:
            limit = min(self._served.limit, FAR_ROWS)
            start = self.position - self._widen
            self._far = replace(self._asked, start=start, end=min(self._horizon, self.end + FAR), limit=limit)
            return self._far
        if self._look is not Look.BY_TIME:
            offset = self._last + 1 - (0 if self._look is Look.BEHIND else len(self._overlap))
            return replace(self._asked, limit=self._served.limit, offset=offset)
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
        """The step, and the rows that are new, or came before in another version; rows beyond the stretch are
        among them."""
        step, fresh = self._judge(page)
        if step in (Step.UNSORTED, Step.MOVED):
            return step, []
        self._doubt.see(page.rows, self.position)
        changed = [row for row in self._versions.changed(page.rows) if row not in fresh]
        self._versions.note(page.rows)
        return step, [*changed, *fresh] if changed else fresh

    def _judge(self, page: Page) -> tuple[Step, list[Row]]:
        is_far = self._look is Look.FAR
        if is_far:
            self._look, self._asked = Look.BY_TIME, self._far
        if self._look is not Look.BY_TIME:
            return self._take_by_offset(page)
        rows, items = page.rows, len(page.rows) + len(page.rejects)
        if items == 0:
            return (Step.MOVED if self._is_lacking(rows) else self._prove()), []
        if not rows:
            return Step.UNSORTED, []
        if self._is_beside(rows[0]) or self._is_beside(rows[-1]):
            return Step.UNSORTED, []  # it goes by another range, so by another order too
        if not self._served.order_kept:
            return self._take_unproven(page)
        if not ascends([row[0] for row in rows]):
            return Step.UNSORTED, []
        edge = {key for key, _ in self._edge}
        if edge and self._widen and edge.isdisjoint(row[1] for row in rows):
            return Step.STUCK, []  # the records of `position` must stand there: moved, or another order
        if self._is_lacking(rows):
            return Step.MOVED, []
        is_shown = bool(self._edge) or rows[0][0] < rows[-1][0]
        self._alone_at, self._is_alone = None if is_shown else rows[-1][0], items == 1
        if not is_shown and self._reaches_further(rows[-1][0]):
            return Step.MORE, []
        fresh = [
            row
            for row in rows
            if row[0] > self.position or (row[0] == self.position and (row[1], row[2]) not in self._edge)
        ]
        fresh = self._doubt.unknown(fresh)
        near = {row[1:3] for row in self._near.rows} if is_far else ()  # does not follow itself
        self._note(items, [row for row in fresh if row[1:3] not in near] if near else fresh)
        if is_far:
            self._items = 0  # it was asked for fewer
        if not is_shown:
            return self._look_on(page, is_far=is_far), fresh
        is_cut = items >= self._served.limit
        if rows[-1][0] > self.position and (sure := self._doubt.sure(rows, self.position)) is not None:
            self._advance(sure)
            return self._look_again(page, is_cut=is_cut, is_far=is_far), fresh
        if rows[-1][0] >= self.until:
            return self._pass(rows), fresh
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
        return self._look_on(page, is_far=is_far), fresh

    def _look_again(self, page: Page, *, is_cut: bool, is_far: bool) -> Step:
        self._doubt.pages += 1
        if self._doubt.pages > MOST_DOUBTS:
            return Step.UNSORTED
        if page.rows[-1][0] < self.until and not is_cut:
            if self.until >= self.end or self._is_careful:
                return self._look_on(page, is_far=is_far)
            self._reach_on(self.until)
        return Step.MORE

    def _look_on(self, page: Page, *, is_far: bool) -> Step:
        """At the end of the stretch, where no record from behind it came."""
        if is_far or self._is_careful or self.until < self.end or self._horizon - self.end <= self._beyond:
            return self._look_behind(page, page.rows)
        self._near, self._look = page, Look.FAR
        return Step.MORE

    def _reaches_further(self, at: datetime) -> bool:
        """A first page whose records share one instant shows no order: it may be the end of the range, turned
        round and cut. Whether there is a longer range, which brings them once more beside others."""
        if self._is_careful or self.until >= self.end:
            return False
        before = self.until
        self._reach_on(max(at, before))
        return self.until > before

    def _is_lacking(self, rows: list[Row]) -> bool:
        """Whether a row is missing that has come before from this place on."""
        if not rows and self._edge and self._widen:
            return True
        return self._doubt.is_lacking(rows, self.position, self._asked.end - _CUT)

    def _is_beside(self, row: Row) -> bool:
        """Outside of what was asked for, whichever way ends are cut to seconds."""
        return not self._asked.start - _CUT < row[0] < self._asked.end + _CUT

    def _take_unproven(self, page: Page) -> tuple[Step, list[Row]]:
        """Too few rows to tell whether the order is kept."""
        items = len(page.rows) + len(page.rejects)
        self._note(items, page.rows)
        if items >= self._served.limit or page.rejects:
            return Step.UNSORTED, []
        return self._look_behind(page, page.rows), page.rows

    def _take_by_offset(self, page: Page) -> tuple[Step, list[Row]]:
        """Nothing but the overlap and nothing behind it, or what the page before left out. Few rows of that,
        which may come in another order, show no more than that there are some.

        Doubles, and ties in another order, show as rows that were listed before.
        """
        rows = page.rows
        if self._look is Look.BEHIND:
            if rows and [row[1] for row in rows] == self._before:
                return Step.REPEATED, []
            if page.rejects:
                return self.distrust_offset(), []
            if rows and (step := self._doubted([*self._recent[-len(self._overlap) :], *rows])):
                return step, []
            self._look, self._aside = Look.AGAIN, page
            return Step.MORE, []
        if page.rejects or not begins_with(rows, self._overlap, is_strict=self._is_strict):
            is_repeated = rows and [row[1] for row in rows] == self._before
            return Step.REPEATED if is_repeated else self.distrust_offset(), []
        first = self._last + 1 - len(self._overlap)
        fresh = rows[len(self._overlap) :]
        if self._look is Look.AGAIN:
            if not self._aside.rows:  # by now there may be something behind it
                self._served.note_offset_led_on()
                return self.distrust_offset() if fresh else self._prove(), []
            first, fresh = self._last + 1, self._aside.rows
            rows = [*rows[: len(self._overlap)], *fresh]
        elif not fresh:
            self._look = Look.BEHIND
            return Step.MORE, []
        if step := self._doubted(rows):
            return step, []
        if any(row[1] in self._listed for row in fresh):
            return Step.REPEATED, []
        self._served.note_offset_led_on()
        self._note(len(rows), fresh)
        page = Page(rows=rows if first <= self._last else fresh)
        if not self._edge and rows[0][0] == rows[-1][0]:
            return self._look_behind(page, fresh, first), fresh  # still one instant, and no order to be seen
        if rows[-1][0] >= self.until:
            return self._pass(rows), fresh
        moved = rows[-1][0] > self.position
        self._advance(rows)
        if not moved:
            return self._look_behind(page, fresh, first), fresh
        self._look = Look.BY_TIME
        return Step.MORE, fresh

    def _doubted(self, rows: list[Row]) -> Step | None:
        """What to do where rows by offset may have others between them; of one instant they are counted."""
        if not self._served.order_kept or not ascends([row[0] for row in rows]):
            return Step.UNSORTED
        if rows[0][0] == rows[-1][0] or is_surprising(rows):
            return None
        if 0 < self._items < self._served.limit:
            self._served.note_more_followed(self._items)
        return self.distrust_offset()

    @property
    def page_rows(self) -> int:
        """Of the page before."""
        return len(self._before)

    def at(self, offset: int) -> Callable[[], Ask]:
        """The range of the page before, from another offset."""
        return lambda: replace(self._asked, limit=self._served.limit, offset=offset)

    def knows(self, page: Page) -> bool:
        """Whether a record on the page was listed before in the range that is walked by offset."""
        return not self._listed.isdisjoint(row[1] for row in page.rows)

    def distrust_offset(self, *, is_refused: bool = False) -> Step:
        """The offset did not lead to the anchor: the same is asked for by time, or by a walk where it was.

        Of one instant that shows no order what lies before it comes first, lest all of that be walked second
        by second. A page of one record is believed where there are no offsets to show what was cut off it.
        """
        if self._look is Look.FAR:
            self._look = Look.BY_TIME
            return self._look_behind(self._near, self._near.rows)
        self._look = Look.BY_TIME
        if not self._served.order_kept:
            return Step.UNSORTED
        if self._alone_at is not None:
            served = self._served
            if self._is_alone and (served.offset_ignored or (is_refused and not served.offset_works)):
                return self._prove()
            before = min(self._alone_at - 2 * self._widen, self.end)
            if before > self.position != self._looked_before:
                self._looked_before, self.until = self.position, before
                if before == self.end:
                    self._beyond = self._widen  # else it would come again
                return Step.MORE
        if self._doubt.is_any:
            return Step.MORE  # what was doubted comes again, and then there is less to walk
        return Step.MORE if self._asked.start < self.position - self._widen else Step.STUCK

    def _look_behind(self, page: Page, fresh: list[Row], first: int = 0) -> Step:
        """Asks by offset for the end of the page and what stands behind it with the next request; `first` is
        the offset of the page, `fresh` what follows what came by offset so far."""
        if self._served.offset_ignored:
            return self.distrust_offset()
        rows, items = page.rows, len(page.rows) + len(page.rejects)
        if self._look is Look.BY_TIME:
            self._listed, self._recent = set(), []
        self._before = [row[1] for row in rows]
        self._listed.update(self._before)
        self._last = first + items - 1
        self._recent = [*self._recent, *remembered(fresh)][-max(RECENT, len(fresh)) :]
        wanted, is_held = overlap_of(self._recent)
        self._overlap, self._is_strict = [row[1] for row in self._recent[-wanted:]], not is_held
        # A single record would come again. And where no page so short was cut, this may well be the end.
        is_short = items == 1 or self._served.may_be_last(items)
        self._look = Look.BEHIND if is_short else Look.OVERLAP
        return Step.MORE

    def _note(self, items: int, fresh: list[Row]) -> None:
        """A page was cut where a record follows inside the range that it was to cover."""
        if 0 < self._items < self._served.limit and fresh and fresh[0][0] < self._reached_to:
            self._served.note_more_followed(self._items)
        self._items = items
        self._reached_to = self.until
        self.came += len(fresh)

    def _advance(self, rows: list[Row]) -> None:
        at = rows[-1][0] if rows else self.position
        if at > self.position:
            self._doubt.pages = 0
            self.position = at
            self._edge = set()
        self._edge |= {(row[1], row[2]) for row in rows if row[0] == self.position}

    def _pass(self, rows: list[Row]) -> Step:
        """A record from behind the reach has come, so all before it."""
        self._look = Look.BY_TIME
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
        self._doubt.end()
        self._look, self._items = Look.BY_TIME, 0
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
        self._look = Look.BY_TIME

    def stop(self) -> None:
        """Gives back the windows of the stretch of which nothing has come."""
        cut = next((cut for cut in self._cuts if cut > self.position), self.end)
        if cut < self.end:
            self.trim(cut)

    def halve(self, floor: timedelta) -> bool:
        """Reaches half as far with the next request, or to the end of the window under way where it reached
        over that; whether it was longer than `floor`."""
        self._look = Look.BY_TIME
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
