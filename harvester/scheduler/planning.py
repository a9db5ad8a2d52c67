"""The plan: what is not yet done, in the order of time, one step after another.

With a fixed resolution the steps are lots of neighbouring windows, which are read by time, one after the
other, so that each proves the one before; or single windows where the server keeps no order. With Auto they
are stretches that hold some pages each, sized by the density of what has come so far; the first one ends
where it shows how dense the records are. The plan is made while the run goes on and is never held whole: ten
years of quarter hours cost no memory.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, count, groupby
from typing import Final

from anyio import to_thread

from harvester import windows
from harvester.dialects import Dialect
from harvester.job import Job
from harvester.ledger import Ledger
from harvester.pages import LEAST_PROOF, Served
from harvester.records import USUAL_RECORD_BYTES, Held
from harvester.scheduler.abreast import Abreast
from harvester.scheduler.steps import Planned, Sizing
from harvester.windows import Partition, Resolution, Span, Window

STRETCH_PAGES: Final = 8
"""Pages in a stretch, on average. Only the last of them is not full, so more would spare requests; fewer
let more tasks share a short span, and cost less when a run is killed.
"""
LOT_WINDOWS: Final = 8
"""Most windows in a lot. Its end has to be proven, so more would spare requests; fewer let more tasks share a
short span.
"""
_DAY_S: Final = 86_400.0
_ANYWHERE: Final = timedelta(days=36_500)


def room_for_stretches(held: Held, page_size: int) -> int:
    """How many of them may wait in memory, as far as is known before the first record has come."""
    return held.limit_bytes // (STRETCH_PAGES * page_size * USUAL_RECORD_BYTES)


def is_read_by_time(dialect: Dialect, page_size: int) -> bool:
    """Whether windows may be read one after the other by time, where the server keeps an order."""
    return dialect.paging != "none" and dialect.membership != "window" and page_size >= LEAST_PROOF


def begun_part(span: Span, now: datetime) -> Span | None:
    """The part of a span in which there can be records: what lies in the future is not asked for.

    The window that has begun and is not over is asked for as a whole, so the part may reach two days beyond.
    """
    if span.start >= now:
        return None
    return Span(start=span.start, end=min(span.end, now + timedelta(days=2)))


class Density:
    """Records per second of recorded time, and bytes per record, over all that this run has read."""

    def __init__(self) -> None:
        self._records = 0
        self._seconds = 0.0
        self._weighed = 0
        self._bytes = 0

    def note(self, records: int, seconds: float) -> None:
        self._records += records
        self._seconds += seconds

    def weigh(self, records: int, size_bytes: int) -> None:
        self._weighed += records
        self._bytes += size_bytes

    def records_in(self, size_bytes: int, most: int) -> int:
        """How many records have that size; `most` where it is more, or nothing is known."""
        return min(most, size_bytes * self._weighed // self._bytes) if self._bytes else most

    @property
    def is_nothing(self) -> bool:
        """Whether all that was read so far was empty."""
        return self._seconds > 0 and not self._records

    def length_of(self, records: int) -> timedelta | None:
        """How long a stretch with so many records is; None where nothing is known. No longer than a day
        before a day has been seen: most records come by day, and the first page is of a night."""
        if not self._records:
            return None
        seconds = min(records * self._seconds / self._records, max(_DAY_S, self._seconds))
        return min(_ANYWHERE, timedelta(milliseconds=max(1, round(seconds * 1000))))


class Planner:
    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        *,
        asked: Sequence[Span],
        served: Served,
        density: Density,
        held: Held,
        abreast: Abreast,
        now: datetime,
    ) -> None:
        self._job = job
        self._abreast = abreast
        self._now = now
        self._spans = [part for span in asked if (part := begun_part(span, now))]
        self._ledger = ledger
        self._served = served
        self._density = density
        self._room_bytes = held.limit_bytes // (2 * job.transport.concurrency)
        """What each lot may hold so that all of them take half of the memory in which records may wait. The
        other half is for lots that are whole before an older one; what does not fit goes to disk and back."""
        self._numbers = count()

    async def steps(self) -> AsyncIterator[Planned]:
        """Every step once. Partitions that a killed run left staged are among them, if only to be
        published.
        """
        for partition in await to_thread.run_sync(self._staged_elsewhere):
            yield Planned(number=next(self._numbers), partition=partition)
        if self._job.resolution is Resolution.AUTO:
            for span in self._spans:
                past = Span(start=span.start, end=min(span.end, self._now))
                for gap in await to_thread.run_sync(self._ledger.missing, past):
                    async for step in self._stretches(gap):
                        yield step
        else:
            windows_left: list[Window] = []
            for partition in self._partitions():
                windows_left += await to_thread.run_sync(self._missing, partition)
                while windows_left and not (self._density.is_nothing and len(windows_left) < LOT_WINDOWS):
                    lot = self._lot(windows_left)
                    yield self._planned(lot)
                    windows_left = windows_left[len(lot) :]
            while windows_left:
                lot = self._lot(windows_left)
                yield self._planned(lot)
                windows_left = windows_left[len(lot) :]

    def _planned(self, lot: list[Window]) -> Planned:
        number = next(self._numbers)
        if not self._is_read_by_time():
            return Planned(number=number, partition=self._partition_of(lot[0]), window=lot[0])
        return Planned(
            number=number,
            stretch=Span(start=lot[0].start, end=lot[-1].end),
            cuts=tuple(window.end for window in lot),
        )

    def _is_read_by_time(self) -> bool:
        return is_read_by_time(self._job.dialect, self._served.limit) and self._served.order_kept is not False

    def _lot(self, left: list[Window]) -> list[Window]:
        """The next windows that are read as one: neighbours with some pages in all, as far as is known."""
        most = 1
        page = min(self._served.limit, self._served.whole_page or self._served.limit)
        length = self._density.length_of(self._density.records_in(self._room_bytes, STRETCH_PAGES * page))
        if self._density.is_nothing and self._is_read_by_time():
            most = LOT_WINDOWS
        elif length is not None and self._is_read_by_time():
            most = max(1, min(LOT_WINDOWS, length // (left[0].end - left[0].start)))
        lot = left[:1]
        while len(lot) < min(most, len(left)) and left[len(lot)].start == lot[-1].end:
            lot.append(left[len(lot)])
        return lot

    def _partition_of(self, window: Window) -> Partition:
        return windows.partition_of(window.start, self._job.output.partition_by, self._job.time_zone)

    def _partitions(self) -> Iterator[Partition]:
        by, zone = self._job.output.partition_by, self._job.time_zone
        touched = chain.from_iterable(windows.partitions(span, by, zone) for span in self._spans)
        return (partition for partition, _ in groupby(touched))

    def _missing(self, partition: Partition) -> list[Window]:
        inside = Span(start=partition.start, end=partition.end)
        return [
            window
            for part in filter(None, (span.overlap(inside) for span in self._spans))
            for gap in self._ledger.missing(part)
            for window in self._cut(gap, self._job.resolution)
            if window.start < self._now
        ]

    def _cut(self, span: Span, resolution: Resolution) -> Iterator[Window]:
        return windows.windows(span, resolution, self._job.time_zone)

    def _staged_elsewhere(self) -> list[Partition]:
        """Staged partitions in which this run has nothing to read."""
        named = [self._job.partition_named(name) for name in self._ledger.unfinished()]
        return [partition for partition in named if not self._missing(partition)]

    async def _stretches(self, gap: Span) -> AsyncIterator[Planned]:
        cursor = gap.start
        while cursor < gap.end:
            if not self._is_read_by_time():
                for window in self._cut(Span(start=cursor, end=gap.end), Resolution.HOUR):
                    yield Planned(
                        number=next(self._numbers), partition=self._partition_of(window), window=window
                    )
                return
            await self._abreast.begin()  # and only then is it sized: by then more is known
            end = self._end_of_stretch(cursor, gap.end)
            if end is not None:
                yield Planned(number=next(self._numbers), stretch=Span(start=cursor, end=end))
                cursor = end
                continue
            sizing = Sizing()
            yield Planned(number=next(self._numbers), stretch=Span(start=cursor, end=gap.end), sizing=sizing)
            await sizing.told.wait()
            assert sizing.end is not None
            cursor = sizing.end

    def _end_of_stretch(self, start: datetime, last: datetime) -> datetime | None:
        """None where nobody knows yet how dense the records are. No short rest is left behind."""
        page = min(self._served.limit, self._served.whole_page or self._served.limit)
        length = self._density.length_of(STRETCH_PAGES * page)
        if length is None:
            return None
        return last if last - start < length * 1.5 else start + length
