"""A stretch of time becomes the batches of the windows in it: those that were planned, else one for each
partition; cut where reading failed.

A stretch is as long as its records make it, so its windows are known only when it has been read. They tile
it: each instant of the stretch lies in a window that is whole or in one that was given up, with the error
that says why.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

from harvester.dialects import Dialect, Reject, Row
from harvester.records.gather import Batch, Gather, Held, owned
from harvester.windows import Partition, Window

_TIME: Final = itemgetter(0)


@dataclass(slots=True)
class _Doubt:
    """Items of a page that are no records, and between which times they lie."""

    since: datetime
    rejects: list[Reject]
    until: datetime | None = None


class Sheaf:
    """Takes rows of any partition in the order of time, and ends as batches."""

    def __init__(
        self,
        start: datetime,
        end: datetime,
        *,
        partition_of: Callable[[datetime], Partition],
        dialect: Dialect,
        held: Held,
        spill_path: Callable[[], Path],
        cuts: Sequence[datetime] = (),
    ) -> None:
        """`cuts` are the ends of the windows in the stretch, in order."""
        self._cuts = cuts
        self._partition_of = partition_of
        self._dialect = dialect
        self._held = held
        self._spill_path = spill_path
        self._start = start
        self._end = end
        self._begun = start
        """Where the segment under way began."""
        self._gathers: list[Gather] = []
        """Of the segment under way, by time."""
        self._closed: list[Gather | tuple[Window, str]] = []
        self._seen = start
        """The latest record that has come."""
        self._doubtful: list[_Doubt] = []
        """Of the segment under way."""
        self.outside = 0

    def windows(self, start: datetime, end: datetime) -> Iterable[Window]:
        """`start` to `end`, cut at the edges of windows and partitions."""
        while start < end:
            edge = min(end, self._cut_after(start), self._partition_of(start).end)
            yield Window(start=start, end=edge)
            start = edge

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps rows inside the stretch, each with its partition. Rejects tell no time: they count in each
        window that they may have been in.
        """
        rows = owned(rows)
        times = list(map(_TIME, rows))
        self._place(times, rejects)
        ordered = times == sorted(times)
        strays: list[Row] = []
        at = 0
        while at < len(rows):
            moment = times[at]
            if not self._begun <= moment < self._end:
                strays.append(rows[at])
                at += 1
                continue
            gather = self._gather(moment)
            to = bisect_left(times, gather.window.end, at) if ordered else at + 1
            await gather.keep(rows[at:to])
            at = to
        if strays:
            self.outside += len(strays)
            self._held.strays.note(strays, self._dialect.version_is_newer)

    def _place(self, times: list[datetime], rejects: list[Reject]) -> None:
        """An item that is no record lies behind what came before its page, and before the end of the page
        that follows: where none does, anywhere up to the end of what is read.
        """
        before = self._seen
        latest = max(times, default=before)
        if latest > before:
            for doubt in self._doubtful:
                doubt.until = doubt.until or latest
            self._seen = latest
        if rejects:
            self._doubtful.append(_Doubt(before, rejects))

    def _gather(self, moment: datetime) -> Gather:
        for gather in reversed(self._gathers):
            if gather.window.contains(moment):
                return gather
        partition = self._partition_of(moment)
        at = bisect_right(self._cuts, moment)
        before = self._cuts[at - 1] if at else self._begun
        window = Window(
            start=max(self._begun, before, partition.start),
            end=min(self._end, self._cut_after(moment), partition.end),
        )
        gather = Gather(window, dialect=self._dialect, held=self._held, spill_path=self._spill_path)
        gather.begin(window)
        self._gathers.append(gather)
        return gather

    def _cut_after(self, moment: datetime) -> datetime:
        at = bisect_right(self._cuts, moment)
        return self._cuts[at] if at < len(self._cuts) else self._end

    def trim(self, end: datetime) -> None:
        """The stretch ends here; nothing that was kept lies behind it."""
        self._end = end

    def close(self, end: datetime) -> None:
        """What came up to `end` is whole; the next segment begins there."""
        for window in self.windows(self._begun, end):
            gather = next((one for one in self._gathers if one.window.start == window.start), None)
            if gather is None:
                gather = Gather(window, dialect=self._dialect, held=self._held, spill_path=self._spill_path)
            gather.cut(window)
            for doubt in self._doubtful:
                if doubt.since < window.end and (doubt.until is None or window.start <= doubt.until):
                    gather.doubt(doubt.rejects)
            self._closed.append(gather)
        self._doubtful = []
        for gather in self._gathers:
            if gather not in self._closed:
                gather.discard()
        self._gathers = []
        self._begun = end

    def fail(self, end: datetime, error: str) -> None:
        """From where the last segment ended up to `end` nothing could be had."""
        self._closed += [(window, error) for window in self.windows(self._begun, end)]
        self._begun = end

    def gather(self, window: Window) -> Gather:
        """A gather for a window that is read by itself, closing the segment before it."""
        gather = Gather(window, dialect=self._dialect, held=self._held, spill_path=self._spill_path)
        self._closed.append(gather)
        self._begun = window.end
        return gather

    def lose(self, window: Window, error: str) -> None:
        """The window of the last `gather` could not be had."""
        gather = self._closed.pop()
        assert isinstance(gather, Gather)
        gather.discard()
        self._closed.append((window, error))

    async def batches(self) -> list[Batch | tuple[Window, str]]:
        """All windows of the stretch in order: a batch, or the window and why it failed."""
        made = [await one.batch() if isinstance(one, Gather) else one for one in self._closed]
        for one in made:
            if isinstance(one, Batch):
                one.outside += self.outside
                break
        return made

    def discard(self) -> None:
        for one in [*self._gathers, *self._closed]:
            if isinstance(one, Gather):
                one.discard()
