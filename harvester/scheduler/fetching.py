"""A step of the plan becomes what is to be stored: the window's or the stretch's records, or word that it
failed.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from harvester import errors, windows
from harvester.errors import ContractBroken, SourceError
from harvester.events import Emit, RecordQuarantined, WindowDone, WindowFailed, WindowSplit
from harvester.job import Job
from harvester.ledger import Settled
from harvester.pages import GIVEN_UP_IN_A_ROW, Pages, Seek, Served, Stretches, Unsorted
from harvester.records import Batch, Gather, Held, Sheaf
from harvester.scheduler.abreast import Abreast
from harvester.scheduler.planning import STRETCH_PAGES, Density
from harvester.scheduler.steps import Fetched, Planned, Result, Sizing
from harvester.transport import OutageOutlived, ServerClock
from harvester.windows import Partition, Resolution, Span, Window

BEYOND_RECORDS: Final = 16
"""A stretch's last request reaches over its end, for a record that proves it, as far as so many are expected:
then none comes once in nine million times, and where there is less at night, one more request tells.
"""
NARROW_S: Final = 900.0
"""A window that fails on every try is narrowed down to this."""


class Fetcher:
    """One for all tasks. `fetch` raises what concerns every window: Refused, ContractBroken, StorageError."""

    def __init__(
        self,
        job: Job,
        pages: Pages,
        stretches: Stretches,
        *,
        served: Served,
        density: Density,
        held: Held,
        spill_path: Callable[[], Path],
        abreast: Abreast,
        clock: ServerClock,
        emit: Emit,
        is_drained: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_drained`: whether no window is to be begun any more."""
        self._is_drained = is_drained
        self._job = job
        self._pages = pages
        self._stretches = stretches
        self._served = served
        self._density = density
        self._held = held
        self._spill_path = spill_path
        self._abreast = abreast
        self._clock = clock
        self._emit = emit

    async def fetch(self, planned: Planned) -> Fetched:
        if planned.stretch is not None:
            results = await self._stretch(planned.stretch, planned.sizing, planned.cuts)
            return Fetched(number=planned.number, results=results, is_sized=not planned.cuts)
        if planned.window is not None:
            return Fetched(number=planned.number, results=await self._windows([planned.window]))
        assert planned.partition is not None
        return Fetched(number=planned.number, results=[Result(partition=planned.partition)])

    # --- a window

    async def _windows(self, planned: Iterable[Window]) -> list[Result]:
        """Windows that are walked one by one. One that fails on every try is halved as long as that may help.
        After a drain those that are left are given back.
        """
        results: list[Result] = []
        left = list(planned)[::-1]
        while left and not (results and self._is_drained()):
            window = left.pop()
            try:
                results.append(await self._window(window))
            except (errors.Refused, ContractBroken):
                raise
            except SourceError as error:
                if self._may_narrow(window, error):
                    self._emit(WindowSplit(start=window.start, end=window.end, reason=str(error)))
                    left += window.halves()[::-1]
                else:
                    results.append(self._failed(window, f"{type(error).__name__}: {error}"))
        return results

    def _may_narrow(self, window: Window, error: SourceError) -> bool:
        """Not where the whole server fails, for that would multiply the tries by the number of halves."""
        if isinstance(error, OutageOutlived) or not isinstance(error, errors.TransientError):
            return False
        self._served.given_up += 1
        return (
            self._served.given_up < GIVEN_UP_IN_A_ROW
            and self._job.dialect.membership == "date"
            and (window.end - window.start).total_seconds() > NARROW_S
        )

    async def _window(self, window: Window) -> Result:
        """Raises SourceError where it failed."""
        began, asked_at = time.monotonic(), self._clock.now()
        gather = Gather(window, dialect=self._job.dialect, held=self._held, spill_path=self._spill_path)
        try:
            requests = await self._pages.read(window, gather)
            batch = await gather.batch()
        except BaseException as error:
            gather.discard()
            if not self._served.pages and isinstance(error, errors.BadPage | errors.Rejected):
                # Not one good page ever came: it is the source that is wrong, not the window.
                raise ContractBroken(f"never one good page: {error}") from error
            raise
        return self._done(batch, asked_at, requests, time.monotonic() - began)

    def _done(self, batch: Batch, asked_at: datetime, requests: int, elapsed_s: float) -> Result:
        window = batch.window
        batch.is_over = window.end <= self._clock.earlier(asked_at)
        for reject in batch.rejects:
            self._emit(RecordQuarantined(start=window.start, end=window.end, reason=reject.reason))
        self._emit(
            WindowDone(
                start=window.start,
                end=window.end,
                records=batch.records,
                duplicates=batch.duplicates,
                outside=batch.outside,
                requests=requests,
                elapsed_s=elapsed_s,
            )
        )
        return Result(partition=self._partition_of(window.start), batch=batch)

    def _failed(self, window: Window, error: str) -> Result:
        self._emit(WindowFailed(start=window.start, end=window.end, error=error))
        failed = Settled(window=window, records=0, error=error)
        return Result(partition=self._partition_of(window.start), failed=failed)

    def _partition_of(self, moment: datetime) -> Partition:
        return windows.partition_of(moment, self._job.output.partition_by, self._job.time_zone)

    # --- a stretch

    async def _stretch(
        self, stretch: Span, sizing: Sizing | None, cuts: tuple[datetime, ...]
    ) -> list[Result]:
        began, asked_at = time.monotonic(), self._clock.now()
        sheaf = Sheaf(
            stretch.start,
            stretch.end,
            partition_of=self._partition_of,
            dialect=self._job.dialect,
            held=self._held,
            spill_path=self._spill_path,
            cuts=cuts,
        )
        ended = stretch.end
        came, came_s = 0, self._clock.monotonic()

        def after(seeking: Seek) -> None:
            """After the first page that was cut it is known how much a stretch may hold."""
            nonlocal ended, came, came_s
            now_s = self._clock.monotonic()
            if 2 * (seeking.came - came) >= self._served.limit:
                self._abreast.came(seeking.came - came, since_s=came_s, now_s=now_s)
            came, came_s = seeking.came, now_s
            if cuts and self._is_drained():
                seeking.stop()
                ended = seeking.end
                sheaf.trim(ended)
            if sizing is None or sizing.end is not None or seeking.position <= stretch.start:
                return
            page = self._served.whole_page
            self._density.note(seeking.came, (seeking.position - stretch.start).total_seconds())
            length = self._density.length_of(STRETCH_PAGES * page)
            if length is not None and stretch.start + length < stretch.end:
                seeking.trim(stretch.start + length)
                ended = seeking.end
                sheaf.trim(ended)
            sizing.tell(ended)

        try:
            requests = await self._stretches.read(
                stretch,
                sheaf,
                cuts=cuts,
                beyond=self._beyond(stretch, cuts),
                horizon=self._job.span.end,
                on_page=after,
            )
            made = await sheaf.batches()
        except Unsorted:
            sheaf.discard()
            if sizing is not None and sizing.end is not None:
                stretch, sizing = Span(start=stretch.start, end=ended), None
            return await self._one_by_one(stretch, sizing, cuts)
        except BaseException:
            sheaf.discard()
            raise
        finally:
            if sizing is not None and self._served.order_kept is not False:
                sizing.tell(ended)
            if not cuts:
                self._abreast.is_read()
        records = sum(one.records for one in made if isinstance(one, Batch))
        self._density.weigh(records, sum(one.raw_bytes for one in made if isinstance(one, Batch)))
        if sizing is None or records < self._served.whole_page:
            self._density.note(records, (ended - stretch.start).total_seconds())
        results = []
        for one in made:
            if isinstance(one, Batch):
                results.append(self._done(one, asked_at, requests, time.monotonic() - began))
                requests = 0
            else:
                results.append(self._failed(*one))
        return results

    def _beyond(self, stretch: Span, cuts: tuple[datetime, ...]) -> timedelta:
        """How far over the stretch's end its last request may reach."""
        length = self._density.length_of(BEYOND_RECORDS)
        if length is None:
            return timedelta(0)
        return min(length, (stretch.end - stretch.start) / max(1, len(cuts)))

    async def _one_by_one(
        self, stretch: Span, sizing: Sizing | None, cuts: tuple[datetime, ...]
    ) -> list[Result]:
        """The server keeps no order: the stretch's windows are walked, hours where none were planned, and
        the plan goes on in the same way.
        """
        if cuts:
            ends = (stretch.start, *cuts)
            return await self._windows(Window(start=start, end=end) for start, end in pairwise(ends))
        hours = windows.windows(stretch, Resolution.HOUR, self._job.time_zone)
        if sizing is not None:
            first = next(hours)
            sizing.tell(first.end)
            return await self._windows([first])
        return await self._windows(hours)
