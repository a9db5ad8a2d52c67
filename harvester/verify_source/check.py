"""Asks the source again and reads the shards, once each and in order; who differs is decided in compare.py.

One task reads the output in a worker thread, N tasks ask. What is held is one window per task, cut so that
it fits one page of the source; an answer that is larger goes to disk as in a run. Nothing is written to the
output.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import orjson
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester import dialects
from harvester.dialects import Ask, Dialect, Page, Row
from harvester.errors import (
    BadPage,
    ContractBroken,
    HarvesterError,
    OtherJob,
    Refused,
    Rejected,
    SourceError,
    StorageError,
    VerificationFailed,
)
from harvester.events import Emit, Event, PageFetched, nobody
from harvester.job import Job
from harvester.output import Manifest, read_manifest
from harvester.pages import Pages, Served
from harvester.records import Gather, Held
from harvester.transport import LOOP_CLOCK, Clock, Layer, Session, stack
from harvester.verify_source import cut as cutting
from harvester.verify_source.compare import Finding, compared
from harvester.verify_source.cut import Cut
from harvester.verify_source.telling import rows_of, told
from harvester.verify_source.values import by_value, summed, valued
from harvester.windows import Span, Window, subtract

FILL: Final = 0.9
"""Of a page that a window's records may fill: the ask is a second wider on both sides, and some may have come
since."""
HELD_AT_MOST: Final = 10_000
"""Differing records that are held and named, with their bytes; the rest are counted by kind."""
_FIRST_LOOK: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unasked:
    """A window of which the source's side could not be had."""

    window: Window
    error: str


@dataclass(slots=True, kw_only=True)
class SourceVerdict:
    source: str
    sample: float
    seed: int
    page_size: int
    order_by: str | None = None
    """What was asked for instead of the run's order, where the source takes it."""
    windows: int = 0
    """Compared to the end."""
    records: int = 0
    """In the output, in these windows."""
    records_there: int = 0
    requests: int = 0
    gaps_s: float = 0.0
    """How much of the output's spans its manifest does not call proven: that is not asked."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many records of each kind (compare.KINDS) differ."""
    findings: list[Finding] = field(default_factory=list)
    """By time; no more than `HELD_AT_MOST`."""
    unasked: list[Unasked] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Compared, all of it that was chosen, and no difference."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """4 for any difference, 3 where some window could not be compared, or where there was none."""
        if self.counts:
            return VerificationFailed.exit_code
        return SourceError.exit_code if self.unasked or not self.windows else 0


async def verify_source(
    out: Path,
    job: Job,
    *,
    sample: float = 1.0,
    seed: int = 0,
    emit: Emit = nobody,
    clock: Clock = LOOP_CLOCK,
    rng: random.Random | None = None,
    progress: Callable[[int], None] = lambda records: None,
) -> SourceVerdict:
    """Compares all that the manifest calls proven, or a `sample` of it, with the source of `job`.

    Raises VerificationFailed where there is no manifest, OtherJob where it is another job's, Refused and
    ContractBroken as a run does; a window that fails otherwise is told in the verdict.
    """
    manifest = await to_thread.run_sync(read_manifest, out)
    _check_job(out, manifest, job)
    return await _Check(out, job, manifest, sample, seed, emit, progress).run(clock, rng or random.Random())


class _Check:
    def __init__(
        self,
        out: Path,
        job: Job,
        manifest: Manifest,
        sample: float,
        seed: int,
        emit: Emit,
        progress: Callable[[int], None],
    ) -> None:
        self._out = out
        self._job = job
        self._manifest = manifest
        self._emit = emit
        self._progress = progress
        self._read_line = _line_reader(out, manifest)
        self._has_tables = job.output.format == "parquet"
        self._spelt = valued if job.dialect.membership == "date" else summed
        if self._has_tables:
            self._read_line = by_value(self._read_line, self._spelt)
        limit = cutting.other_page_size(job.page_size, job.dialect.max_page_size)
        self._verdict = SourceVerdict(
            source=job.transport.base_url, sample=sample, seed=seed, page_size=limit
        )
        self._served = Served(limit=limit)
        self._held = Held()
        self._found: list[Finding] = []
        self._beyond: Counter[str] = Counter()
        self._fatal: HarvesterError | None = None
        self._asking: anyio.CancelScope | None = None

    async def run(self, clock: Clock, rng: random.Random) -> SourceVerdict:
        verdict, job = self._verdict, self._job
        chosen = self._chosen()
        with tempfile.TemporaryDirectory(prefix="harvester-verify-") as spill:
            async with Session(job.transport, clock) as session:

                def layer(dialect: Dialect) -> Layer[Ask, Page]:
                    return stack(
                        session,
                        job.transport,
                        read=lambda inner: job.reading(dialect, inner, self._hear),
                        emit=self._emit,
                        rng=rng,
                        clock=clock,
                    )

                dialect = await self._order(chosen, layer)
                pages = Pages(layer(dialect), dialect=dialect, served=self._served, emit=self._emit)
                await self._wire(pages, chosen, Path(spill))
        if self._fatal is not None:
            raise self._fatal
        verdict.unasked.sort(key=lambda one: one.window)
        verdict.findings, verdict.counts = await to_thread.run_sync(
            lambda: told(
                self._found,
                self._beyond,
                out=self._out,
                manifest=self._manifest,
                read=self._read_line,
                newer=job.dialect.version_is_newer,
            )
        )
        return verdict

    def _hear(self, event: Event) -> None:
        if isinstance(event, PageFetched):
            self._verdict.requests += 1
        self._emit(event)

    def _chosen(self) -> list[Window]:
        """What is asked for: the proven stretches in our own cut, or a sample of them."""
        verdict, job = self._verdict, self._job
        spans, gaps = map(_span, self._manifest.spans), list(map(_span, self._manifest.gaps))
        proven: list[Span] = []
        for span in spans:
            parts = subtract(span, gaps)
            proven += parts
            verdict.gaps_s += _seconds(span) - sum(map(_seconds, parts))
        if job.dialect.membership == "window":
            found = cutting.periods(proven, job.resolution, job.time_zone)
        else:
            whole = verdict.sample >= 1
            found = cutting.cells(proven, cutting.CELL if whole else cutting.SAMPLED_CELL)
        return cutting.sampled(list(found), verdict.sample, verdict.seed)

    async def _order(self, chosen: list[Window], layer: Callable[[Dialect], Layer[Ask, Page]]) -> Dialect:
        """The job's dialect, in another order where the source takes it: one small request finds out."""
        dialect = self._job.dialect
        order = cutting.other_order(dialect)
        if order is None or not chosen:
            return dialect
        other = replace(dialect, selection=replace(dialect.selection, order_by=order))
        start, end = chosen[0].start, min(chosen[0].end, chosen[0].start + _FIRST_LOOK)
        try:
            await layer(other).send(Ask(start=start, end=end, limit=1, offset=0, order_by=None))
        except (Rejected, BadPage):
            return dialect
        self._verdict.order_by = order
        return other

    async def _wire(self, pages: Pages, chosen: list[Window], spill: Path) -> None:
        sending, receiving = anyio.create_memory_object_stream[Cut](0)
        numbers = count()

        def spill_path() -> Path:
            return spill / f"spill-{next(numbers)}"

        async with anyio.create_task_group() as asking:
            self._asking = asking.cancel_scope
            asking.start_soon(self._read, sending, chosen, name="read")
            for number in range(self._job.transport.concurrency):
                asking.start_soon(self._ask, pages, receiving.clone(), spill_path, name=f"ask {number}")
            receiving.close()

    def _stop(self, error: HarvesterError) -> None:
        """Ends the asking for an error that concerns every window."""
        self._fatal = self._fatal or error
        if self._asking is not None:
            self._asking.cancel()

    # --- the output's side

    async def _read(self, sending: MemoryObjectSendStream[Cut], chosen: list[Window]) -> None:
        is_date = self._job.dialect.membership == "date"
        rows = (row for _, row in rows_of(self._out, self._manifest.shards, chosen, self._read_line))
        most = max(1, int(FILL * self._verdict.page_size)) if is_date else None
        reading = cutting.cuts(rows, chosen, most_records=most)
        async with sending:
            while (cut := await to_thread.run_sync(next, reading, None)) is not None:
                await sending.send(cut)

    # --- the source's side

    async def _ask(
        self, pages: Pages, receiving: MemoryObjectReceiveStream[Cut], spill: Callable[[], Path]
    ) -> None:
        async with receiving:
            async for cut in receiving:
                try:
                    await self._ask_one(pages, cut, spill)
                except (Refused, ContractBroken, StorageError) as error:
                    self._stop(error)
                except SourceError as error:
                    if not self._served.pages and isinstance(error, BadPage | Rejected):
                        self._stop(ContractBroken(f"never one good page: {error}"))
                    words = f"{type(error).__name__}: {error}"
                    self._verdict.unasked.append(Unasked(window=cut.window, error=words))

    async def _ask_one(self, pages: Pages, cut: Cut, spill: Callable[[], Path]) -> None:
        dialect = self._job.dialect
        gather = Gather(cut.window, dialect=dialect, held=self._held, spill_path=spill)
        try:
            await pages.read(cut.window, gather)
            batch = await gather.batch()
            rows = map(self._spelt, batch.rows) if self._has_tables else batch.rows
            found = await to_thread.run_sync(lambda: list(compared(cut, rows, dialect.version_is_newer)))
        finally:
            gather.discard()
        if batch.error is not None:  # an item that cannot be read may be what is not found
            found = [one for one in found if one.kind != "gone"]
        room = max(0, HELD_AT_MOST - len(self._found))
        self._found += found[:room]
        self._beyond.update(one.kind for one in found[room:])
        verdict = self._verdict
        verdict.records += len(cut.here)
        verdict.records_there += batch.records
        if batch.error is None:
            verdict.windows += 1
        else:
            verdict.unasked.append(Unasked(window=cut.window, error=batch.error))
        self._progress(verdict.records)


def _check_job(out: Path, manifest: Manifest, job: Job) -> None:
    known = manifest.job.get("settings", {})
    wanted = orjson.loads(orjson.dumps(dict(job.fingerprint)))
    differing = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
    if differing:
        words = "; ".join(f"{key}: {known.get(key)!r} there, {wanted.get(key)!r} asked" for key in differing)
        raise OtherJob(f"{out}: this output belongs to another job ({words}); give the job that made it")


def _line_reader(out: Path, manifest: Manifest) -> Callable[[bytes], Row]:
    try:
        return dialects.row_reader(manifest.job.get("reading", {}))
    except ValueError as error:
        raise VerificationFailed(f"{out}: the manifest {error}; run the job again to write it anew") from None


def _span(stretch: Any) -> Span:
    return Span(start=datetime.fromisoformat(stretch.start), end=datetime.fromisoformat(stretch.end))


def _seconds(span: Span) -> float:
    return (span.end - span.start).total_seconds()
