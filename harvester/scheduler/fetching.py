"""A step of the plan becomes what is to be stored: the window's or the stretch's records, or word that it
failed.
"""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from harvester import errors, windows
from harvester.errors import ContractBroken, SourceError
from harvester.events import Emit, RecordQuarantined, WindowDone, WindowFailed
from harvester.job import Job
from harvester.ledger import Settled
from harvester.pages import Pages, Seek, Served, Unsorted
from harvester.records import Batch, Gather, Held, Sheaf
from harvester.scheduler.planning import STRETCH_PAGES, Density
from harvester.scheduler.steps import Fetched, Planned, Result, Sizing
from harvester.transport import ServerClock
from harvester.windows import Partition, Resolution, Span, Window


class Fetcher:
    """One for all tasks. `fetch` raises what concerns every window: Refused, ContractBroken, StorageError."""

    def __init__(
        self,
        job: Job,
        pages: Pages,
        *,
        served: Served,
        density: Density,
        held: Held,
        spill_path: Callable[[], Path],
        clock: ServerClock,
        emit: Emit,
    ) -> None:
        self._job = job
        self._pages = pages
        self._served = served
        self._density = density
        self._held = held
        self._spill_path = spill_path
        self._clock = clock
        self._emit = emit

    async def fetch(self, planned: Planned) -> Fetched:
        if planned.stretch is not None:
            return Fetched(
                number=planned.number, results=await self._stretch(planned.stretch, planned.sizing)
            )
        if planned.window is not None:
            return Fetched(number=planned.number, results=[await self._window(planned.window)])
        assert planned.partition is not None
        return Fetched(number=planned.number, results=[Result(partition=planned.partition)])

    # --- a window

    async def _window(self, window: Window) -> Result:
        began, asked_at = time.monotonic(), self._clock.now()
        gather = Gather(window, dialect=self._job.dialect, held=self._held, spill_path=self._spill_path)
        try:
            requests = await self._pages.read(window, gather)
            batch = await gather.batch()
        except (errors.Refused, ContractBroken):
            gather.discard()
            raise
        except SourceError as error:
            gather.discard()
            if not self._served.pages and isinstance(error, errors.BadPage | errors.Rejected):
                # Not one good page ever came: it is the source that is wrong, not the window.
                raise ContractBroken(f"never one good page: {error}") from error
            return self._failed(window, f"{type(error).__name__}: {error}")
        except BaseException:
            gather.discard()
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

    async def _stretch(self, stretch: Span, sizing: Sizing | None) -> list[Result]:
        began, asked_at = time.monotonic(), self._clock.now()
        sheaf = Sheaf(
            stretch.start,
            stretch.end,
            partition_of=self._partition_of,
            dialect=self._job.dialect,
            held=self._held,
            spill_path=self._spill_path,
        )
        ended = stretch.end

        def size(seeking: Seek) -> None:
            """After the first full page it is known how much a stretch may hold."""
            nonlocal ended
            if sizing is None or sizing.end is not None or seeking.position <= stretch.start:
                return
            page = self._served.whole_page
            self._density.note(page, (seeking.position - stretch.start).total_seconds())
            length = self._density.length_of(STRETCH_PAGES * page)
            if length is not None and stretch.start + length < stretch.end:
                seeking.trim(stretch.start + length)
                ended = seeking.end
                sheaf.trim(ended)
            sizing.tell(ended)

        try:
            requests = await self._pages.seek(stretch, sheaf, on_page=size)
            made = await sheaf.batches()
        except Unsorted:
            sheaf.discard()
            return await self._hours(stretch, sizing)
        except BaseException:
            sheaf.discard()
            raise
        finally:
            if sizing is not None and self._served.order_kept is not False:
                sizing.tell(ended)
        records = sum(one.records for one in made if isinstance(one, Batch))
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

    async def _hours(self, stretch: Span, sizing: Sizing | None) -> list[Result]:
        """The server keeps no order: the stretch's hours are walked one by one, and the plan goes on in
        hours.
        """
        hours = windows.windows(stretch, Resolution.HOUR, self._job.time_zone)
        if sizing is not None:
            first = next(hours)
            sizing.tell(first.end)
            return [await self._window(first)]
        return [await self._window(hour) for hour in hours]
