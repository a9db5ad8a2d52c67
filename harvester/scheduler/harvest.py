"""The scheduler: one task plans windows, N fetch them, one stores them; this file wires the rooms and owns
no rule of theirs.

::

    plan ──Window──► fetch × N ──Batch──► store (worker thread) ──► shards, ledger
      ▲ one slot a window                    │ in the order of the windows
      └──────── slots come back ─────────────┘

Both streams have no buffer: a full house is a blocked `send`. A window holds its slot until it is stored,
so no more than `LOOKAHEAD` windows are ahead of the oldest unfinished one; what waits there beyond `Held`
goes to disk.

The run ends in one of three ways. Left alone, it finishes. Asked to drain, or stopped by an error that
concerns every window, it begins no window, stores what has come and publishes it as far as it goes; a drain
lets windows finish of which a page has come, and gives back the others.
Cancelled, it drops what is not sealed. The next run goes on from what the ledger says is done.
"""

import random
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester import errors
from harvester.contract import Recheck
from harvester.dialects import Ask, Page
from harvester.errors import ContractBroken, HarvesterError, StorageError
from harvester.events import DrainBegan, Emit, FieldNeverSeen, RunStarted, nobody
from harvester.job import Job, Outcome
from harvester.ledger import Ledger, home_of
from harvester.output import Output
from harvester.pages import Pages, Rechecked, Served, Stretches
from harvester.pseudonyms import tell_never_seen
from harvester.records import Held
from harvester.scheduler.abreast import Abreast
from harvester.scheduler.asked import Asked, begin
from harvester.scheduler.ending import Stopped, end
from harvester.scheduler.fetching import Fetcher
from harvester.scheduler.known import begin_with, known_contract
from harvester.scheduler.learned import begin_where_it_ended, news
from harvester.scheduler.planning import Density, Planner, room_for_stretches
from harvester.scheduler.revocable import Revocable
from harvester.scheduler.steps import Fetched, Planned
from harvester.scheduler.storing import TAKEN_WINDOWS, Store, Tally, quietly
from harvester.transport import LOOP_CLOCK, Clock, Layer, OpenSession, ServerClock, Session, stack

LOOKAHEAD: Final = 4
"""Windows begun and not stored, per request in flight: enough that one slow window does not make the others
wait.
"""
PARSING: Final = 2
"""Tasks beyond the requests in flight: while they parse, the others keep the wire busy."""
LEAST_LOOKAHEAD: Final = 2 * TAKEN_WINDOWS
DRAIN_S: Final = 20.0
"""How long windows under way may take to finish after a drain began: less than the 30 s after which
Kubernetes kills."""


class Harvest:
    """One run of one job. `await run()` once; `drain` and `cancel` may be called from the loop at any
    time.
    """

    def __init__(
        self,
        job: Job,
        *,
        emit: Emit = nobody,
        max_duration_s: float | None = None,
        repair: bool = False,
        rng: random.Random | None = None,
        held: Held | None = None,
        clock: Clock = LOOP_CLOCK,
        session: OpenSession = Session,
    ) -> None:
        """`session` opens the innermost layer, below auth, pace and retry."""
        self._job = job
        self._emit = emit
        self._max_duration_s = max_duration_s
        self._repair = repair
        self._asked: Asked = None  # type: ignore[assignment]
        self._rng = rng or random.Random()
        self._held = held or Held.beside(job.transport.concurrency + PARSING, job.page_size)
        self._clock = ServerClock(clock, emit=emit)
        self._session = session
        self._served = Served(limit=min(job.page_size, job.dialect.max_page_size or job.page_size))
        self._density = Density()
        self._abreast: Abreast
        self._tally = Tally()
        self._fatal: BaseException | None = None
        self._drain_reason: str | None = None
        self._is_cancelled = False
        self._planning: anyio.CancelScope | None = None
        self._asking: anyio.CancelScope | None = None
        self._fetching: list[Revocable[Ask, Page]] = []
        self._drained = anyio.Event()
        self._spills = count()

    # --- how it is stopped

    def drain(self, reason: str) -> None:
        """No new window is begun, and none goes on of which no page has come; the others have `DRAIN_S` to
        finish, are stored and published.
        """
        if self._drain_reason is None:
            self._drain_reason = reason
            self._emit(DrainBegan(reason=reason))
            if self._planning is not None:
                self._planning.cancel()
            for layer in self._fetching:
                layer.take_back()
            self._drained.set()

    def cancel(self) -> None:
        """Drops what is not sealed."""
        self._drain_reason = self._drain_reason or "cancelled"
        self._is_cancelled = True
        if self._asking is not None:
            self._asking.cancel()

    def _stop(self, error: BaseException) -> None:
        """Ends the asking for an error that concerns every window; what has come is stored."""
        if self._fatal is None:
            self._fatal = error
        if self._asking is not None:
            self._asking.cancel()

    # --- the run

    async def run(self) -> Outcome:
        """Never raises for what the source or the output does; the outcome tells. ConfigError alone goes
        up.
        """
        job = self._job
        output = Output(
            job.output,
            fingerprint=job.fingerprint,
            time_zone=job.time_zone,
            dialect=job.dialect,
            emit=self._emit,
        )
        try:
            async with output:
                return await self._run_in(output)
        except errors.ConfigError:
            raise
        except (HarvesterError, PermissionError) as failure:
            error = StorageError.of(failure) if isinstance(failure, PermissionError) else failure
            return Outcome(
                status=error.status, exit_code=error.exit_code, error=str(error), out=job.output.url
            )

    async def _run_in(self, output: Output) -> Outcome:
        job = self._job
        ledger = output.ledger
        total, todo = await to_thread.run_sync(self._begin, output, self._clock.now())
        if todo or ledger.unfinished():
            self._emit(RunStarted(out=job.output.url, windows=todo, done_before=total - todo))
            await to_thread.run_sync(output.withdraw_success)
            try:
                await self._harvest(output, todo)
            except BaseException:
                # Unforeseen: what is sealed stays, and the manifest tells it before the error goes up.
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(quietly, output.abandon)
                    await to_thread.run_sync(quietly, output.write_manifest)
                raise
        elif await to_thread.run_sync(output.is_told):
            self._emit(RunStarted(out=job.output.url, windows=0, done_before=total))
        with anyio.CancelScope(shield=True):
            outcome = await to_thread.run_sync(self._end, output, total, self._clock.now())
        return outcome

    def _begin(self, output: Output, now: datetime) -> tuple[int, int]:
        """Windows of the span, and how many of them are still to be asked for."""
        output.check_shards(repair=self._repair)
        self._asked = begin(self._job, output.ledger, now=now, emit=self._emit)
        todo = self._asked.todo()
        return max(self._asked.total(), todo), todo

    async def _harvest(self, output: Output, todo: int) -> None:
        job = self._job
        access, pace, width = begin_where_it_ended(job.transport, output.ledger, self._clock)
        contract = await to_thread.run_sync(known_contract, job, self._emit)
        recheck = None if contract is None else begin_with(contract, self._served)
        async with self._session(access, emit=self._emit, server_clock=self._clock) as session:
            layer = stack(
                session,
                access,
                read=lambda inner: self._reading(inner, recheck),
                emit=self._emit,
                rng=self._rng,
                clock=self._clock,
                pace=pace,
                width=width,
            )
            await self._wire(output, layer, todo)
        self._tell_never_seen()
        if learned := news(access, pace, width):
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(quietly, lambda: output.ledger.learn(learned))

    def _tell_never_seen(self) -> None:
        """Fields that are needed where records have them, and that none had."""
        field, served = self._job.dialect.version_field, self._served
        tell_never_seen(self._job.pseudonyms, served.records, self._emit)
        if field is not None and served.records and not served.has_versions:
            self._emit(FieldNeverSeen(field=field, records=served.records))

    async def _wire(self, output: Output, layer: Layer[Ask, Page], todo: int) -> None:
        """The tasks and the streams between them."""
        concurrency = self._job.transport.concurrency
        tasks = min(concurrency + PARSING, max(1, todo))
        self._abreast = Abreast(room_for_stretches(self._held, self._job.page_size), most=tasks)
        slots = anyio.Semaphore(max(LEAST_LOOKAHEAD, LOOKAHEAD * concurrency))
        planned_in, planned_out = anyio.create_memory_object_stream[Planned](0)
        fetched_in, fetched_out = anyio.create_memory_object_stream[Fetched](0)
        async with anyio.create_task_group() as outer:
            outer.start_soon(self._store, output, fetched_out, slots, name="store")
            async with fetched_in, anyio.create_task_group() as asking:
                self._asking = asking.cancel_scope
                asking.start_soon(self._plan, output, planned_in, slots, name="plan")
                asking.start_soon(self._watch, asking.cancel_scope, name="watch")
                async with anyio.create_task_group() as fetching:
                    for number in range(tasks):
                        own = Revocable(layer)
                        self._fetching.append(own)
                        fetching.start_soon(
                            self._fetch,
                            own,
                            self._fetcher(output, own),
                            planned_out.clone(),
                            fetched_in.clone(),
                            name=f"fetch {number}",
                        )
                    planned_out.close()
                asking.cancel_scope.cancel()

    def _fetcher(self, output: Output, layer: Layer[Ask, Page]) -> Fetcher:
        dialect, served, emit = self._job.dialect, self._served, self._emit
        pages = Pages(layer, dialect=dialect, served=served, emit=emit)
        return Fetcher(
            self._job,
            pages,
            Stretches(layer, pages, dialect=dialect, served=served, emit=emit),
            served=self._served,
            density=self._density,
            held=self._held,
            spill_path=lambda: self._spill_path(output),
            abreast=self._abreast,
            clock=self._clock,
            emit=self._emit,
            is_drained=lambda: self._drain_reason is not None,
        )

    def _spill_path(self, output: Output) -> Path:
        return output.spill_path(str(next(self._spills)))

    def _reading(self, inner: Any, recheck: Recheck | None) -> Layer[Ask, Page]:
        dialect, emit, served = self._job.dialect, self._emit, self._served
        read = self._job.reading(dialect, inner, emit)
        return (
            read if recheck is None else Rechecked(read, recheck, dialect=dialect, served=served, emit=emit)
        )

    async def _watch(self, asking: anyio.CancelScope) -> None:
        """Ends the run in time: a drain when its duration is used up, a stop when the drain takes too
        long.
        """
        with anyio.move_on_after(self._max_duration_s):
            await self._drained.wait()
        self.drain("time budget")
        await anyio.sleep(DRAIN_S)
        asking.cancel()

    # --- plan

    async def _plan(
        self, output: Output, planned: MemoryObjectSendStream[Planned], slots: anyio.Semaphore
    ) -> None:
        async with planned:
            with anyio.CancelScope() as self._planning:
                if self._drain_reason is not None:
                    return
                with Ledger(home_of(self._job.output.folder), read_only=True, check=False) as ledger:
                    planner = Planner(
                        self._job,
                        ledger,
                        asked=self._asked.spans,
                        served=self._served,
                        density=self._density,
                        held=self._held,
                        abreast=self._abreast,
                        now=self._clock.now(),
                    )
                    async for step in planner.steps():
                        await slots.acquire()
                        await planned.send(step)

    # --- fetch

    async def _fetch(
        self,
        layer: Revocable[Ask, Page],
        fetcher: Fetcher,
        planned_out: MemoryObjectReceiveStream[Planned],
        fetched_in: MemoryObjectSendStream[Fetched],
    ) -> None:
        async with planned_out, fetched_in:
            async for planned in planned_out:
                fetched = None
                try:
                    with layer.step():
                        fetched = await fetcher.fetch(planned)
                    if fetched is not None:
                        await fetched_in.send(fetched)
                except (errors.Refused, ContractBroken, StorageError, errors.ConfigError) as error:
                    self._stop(error)
                    return
                except anyio.BrokenResourceError:
                    return  # the store is gone; it reports

    # --- store

    async def _store(
        self, output: Output, fetched_out: MemoryObjectReceiveStream[Fetched], slots: anyio.Semaphore
    ) -> None:
        store = Store(
            output,
            asked=self._asked.spans,
            tally=self._tally,
            held=self._held,
            is_newer=self._job.dialect.version_is_newer,
            spill_path=lambda: self._spill_path(output),
        )

        def is_awaited() -> bool:
            return slots.value == 0 or self._abreast.waits_for_store

        def is_stored(fetched: Fetched) -> None:
            slots.release()
            if fetched.is_sized:
                self._abreast.is_stored()

        try:
            async with fetched_out:
                await store.all(fetched_out, is_awaited, is_stored)
            # Drained or stopped, some windows never came: what came is kept all the same, the ledger
            # knows the holes.
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(output.abandon if self._is_cancelled else store.close)
        except StorageError as error:
            self._stop(error)
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(quietly, output.abandon)

    # --- the end

    def _end(self, output: Output, total: int, now: datetime) -> Outcome:
        return end(
            output,
            self._job,
            self._asked,
            self._tally,
            Stopped(fatal=self._fatal, drain_reason=self._drain_reason),
            windows_total=total,
            now=now,
            repair=self._repair,
            emit=self._emit,
        )
