"""Plays a story: its episodes one after another on one output, then calm runs until all is proven."""

import asyncio
import contextlib
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, wraps
from pathlib import Path
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

import anyio

from harvester import dialects
from harvester.job import Job, Outcome
from harvester.records import Held
from harvester.scheduler import Harvest
from harvester.shards import OutputSettings
from harvester.shards.disk import Disk
from harvester.transport import TransportSettings
from harvester.windows import Span
from tests import virtual_time
from tests.simulation.judge import judge
from tests.simulation.scenario import Episode, Scenario, draw
from tests.simulation.source import Clock, Source
from tests.simulation.trace import Trace

CALM_RUNS: Final = 4
"""In calm weather one run ends with 0; a few more for what the one before had to find out."""
MOST_VIRTUAL_S: Final = 8 * 3600.0
"""Of a run. The longest: a budget's outage in each of eight tries of a window, and pauses between."""
_OPERATIONS: Final = (
    "make_folder",
    "create",
    "write",
    "close_durably",
    "sync_folder",
    "link",
    "replace",
    "remove",
)


class Crash(BaseException):
    """The process is gone. Nothing on the way up can change what is on the disk any more: it was copied."""


@dataclass(slots=True)
class Report:
    seed: int
    digest: str = ""
    """Of everything that happened, with its times."""
    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    crashes: int = 0
    requests: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)


def play(seed: int, folder: Path, *, scenario: Scenario | None = None) -> Report:
    """One story from its seed, in `folder`, which is emptied first. Raises nothing of the program's."""
    report = Report(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    story = _Story(scenario or draw(seed), folder, report)
    with virtual_time.inline_threads(story.hop_s), _watched(story):
        try:
            virtual_time.run(story.play)
        except Exception as error:
            report.wrong.append(f"{type(error).__name__}: {error} {_innermost(error)}")
    return report


class _Story:
    def __init__(self, scenario: Scenario, folder: Path, report: Report) -> None:
        self._scenario = scenario
        self._out = folder / "out"
        self._copy = folder / "copy"
        self._token_file = folder / "token"
        self._report = report
        self._hops = random.Random(f"hops {scenario.seed}")
        self._asked: list[Span] = []
        self._told_of: list[Span] = []
        self._token = "t"
        self._fatal = 0
        self._met = 0
        self._is_dead = False
        self.opened: list[IO[bytes]] = []
        """Files that were created on the disk; some are still open when the process is gone."""

    def hop_s(self) -> float:
        return self._hops.uniform(0.0, 0.004)

    async def play(self) -> None:
        clock = Clock(self._scenario.begins, self._scenario.skew_s)
        self._trace = Trace(clock.monotonic)
        self._token_file.write_text(self._token)
        for number, episode in enumerate(self._scenario.episodes):
            await self._episode(episode, clock, number)
            if self._report.wrong:
                break
        else:
            await self._until_proven(clock)
        report, trace = self._report, self._trace
        report.wrong += trace.wrong[:5]
        report.digest, report.steps, report.heard = trace.digest, trace.steps, trace.heard
        report.virtual_s = clock.monotonic()

    async def _until_proven(self, clock: Clock) -> None:
        """The whole span, when it is over, without a fault."""
        self._token_file.write_text(self._token)
        over = self._scenario.span.end + timedelta(seconds=4)  # and beyond what a Date in seconds cuts off
        rest_s = (over - min(clock.now(), clock.there())).total_seconds()
        await anyio.sleep(max(0.0, rest_s))
        calm = Episode(hours=(0, self._scenario.hours))
        for number in range(CALM_RUNS):
            outcome = await self._episode(calm, clock, 100 + number)
            if self._report.wrong:
                return
            if outcome is not None and outcome.exit_code == 0:
                return
        assert outcome is not None
        self._report.wrong.append(
            f"not proven by {CALM_RUNS} calm runs: {outcome.status}, {outcome.gaps[:3]}"
        )

    async def _episode(self, episode: Episode, clock: Clock, number: int) -> Outcome | None:
        """None where it crashed."""
        scenario, report, trace = self._scenario, self._report, self._trace
        seed = f"{scenario.seed} {number}"
        trace.begin()
        began_s = clock.monotonic()
        source = Source(scenario, episode, clock, trace, self._token, seed=seed)
        self._asked.append(scenario.span_of(episode))
        harvest = Harvest(
            self._job(episode),
            emit=trace.hear,
            max_duration_s=episode.after_s if episode.fate == "budget" else None,
            rng=random.Random(seed),
            held=Held(limit_bytes=scenario.held_bytes, run_bytes=scenario.held_bytes // 2),
            clock=clock,
            session=source.open,
        )
        self._met, self._is_dead = 0, False
        self._fatal = episode.operation if episode.fate == "crash at" else 0
        outcome = await self._run(harvest, episode, source)
        self._fatal, self._is_dead = 0, False
        self._token = source.token
        if len(asyncio.all_tasks()) > 1:
            report.wrong.append(f"tasks left: {sorted(task.get_name() for task in asyncio.all_tasks())}")
        report.runs += 1
        report.requests += source.requests
        if clock.monotonic() - began_s > MOST_VIRTUAL_S:
            report.wrong.append(f"a run took {clock.monotonic() - began_s:.0f} s of virtual time")
        for file in self.opened:
            file.close()  # as the system does for a process that was killed
        self.opened.clear()
        if outcome is None:
            report.crashes += 1
            report.ends["crashed"] += 1
            shutil.rmtree(self._out, ignore_errors=True)
            if self._copy.exists():
                self._copy.rename(self._out)
            return None
        report.ends[outcome.status] += 1
        trace.note("ended", outcome.status, outcome.records)
        self._told_of.append(scenario.span_of(episode))
        wrong = judge(self._out, scenario, self._asked, self._told_of, outcome)
        report.wrong += [f"run {report.runs}, {episode}: {one}" for one in wrong]
        return outcome

    async def _run(self, harvest: Harvest, episode: Episode, source: Source) -> Outcome | None:
        outcomes: list[Outcome] = []

        async def running() -> None:
            outcomes.append(await harvest.run())
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(running, name="run")
                group.start_soon(self._befall, harvest, episode, group.cancel_scope, name="fate")
                if episode.expires_after is not None:
                    group.start_soon(self._renew, source, episode, name="renew")
        except BaseExceptionGroup as errors:
            if not _is_crash(errors):
                raise
            return None
        return outcomes[0] if outcomes and not self._is_dead else None

    async def _befall(self, harvest: Harvest, episode: Episode, scope: anyio.CancelScope) -> None:
        if episode.fate not in ("drain", "cut short", "crash"):
            return
        await anyio.sleep(episode.after_s)
        self._trace.note(episode.fate)
        if episode.fate == "crash":
            self._die()
            scope.cancel()
            return
        harvest.drain("signal")
        if episode.fate == "cut short":
            await anyio.sleep(self._hops.uniform(0.0, 3.0))
            harvest.cancel()

    async def _renew(self, source: Source, episode: Episode) -> None:
        await source.expired.wait()
        await anyio.sleep(episode.renewed_after_s)
        self._token_file.write_text(source.token)

    # --- the crash

    def meet(self) -> None:
        """Before and after each operation on the disk."""
        self._met += 1
        if self._is_dead or self._met == self._fatal:
            self._die()
            raise Crash

    def _die(self) -> None:
        """What is on the disk now is what the next run finds."""
        if not self._is_dead:
            self._is_dead = True
            shutil.rmtree(self._copy, ignore_errors=True)
            if self._out.exists():
                shutil.copytree(self._out, self._copy)

    def _job(self, episode: Episode) -> Job:
        scenario = self._scenario
        return Job(
            dialect=_dialect(),
            span=scenario.span_of(episode),
            time_zone=ZoneInfo("UTC"),
            resolution=scenario.resolution,
            page_size=scenario.page_size,
            transport=TransportSettings(
                base_url="http://localhost:9",
                token_file=self._token_file,
                concurrency=scenario.concurrency,
                requests_per_second=scenario.requests_per_second,
                max_attempts=scenario.max_attempts,
                max_outage_s=scenario.max_outage_s,
            ),
            output=OutputSettings(
                url=str(self._out), compression=scenario.compression, shard_bytes=scenario.shard_bytes
            ),
            fingerprint={"seed": scenario.seed, "time_zone": "UTC", "partition_by": "day"},
        )


@cache
def _dialect() -> dialects.Dialect:
    return dialects.load("interactions").select(time_zone="UTC", resolution=None)


@contextlib.contextmanager
def _watched(story: _Story) -> Iterator[None]:
    """Every operation of every disk meets the story, before and after."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def meeting(*values: Any) -> Any:
            story.meet()
            answer = method(*values)
            if method.__name__ == "create":
                story.opened.append(answer)
            story.meet()
            return answer

        return meeting

    whole = {name: getattr(Disk, name) for name in _OPERATIONS}
    for name, method in whole.items():
        setattr(Disk, name, around(method))
    try:
        yield
    finally:
        for name, method in whole.items():
            setattr(Disk, name, method)


def _is_crash(errors: BaseExceptionGroup[BaseException]) -> bool:
    """Whether nothing but the crash is in it."""
    return errors.split(Crash)[1] is None


def _innermost(error: BaseException) -> str:
    """Where it came from, for a person who replays the seed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"[{type(error).__name__}: {error} at {place}]"
