"""What end-to-end tests share: a job against a simulator in this process, run to its end and compared with
the truth."""

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import orjson

from harvester import dialects, events
from harvester.job import Job, Outcome
from harvester.records import Held
from harvester.scheduler import Harvest
from harvester.shards import OutputSettings
from harvester.testing.control import lines_of_truth
from harvester.testing.server import Simulator
from harvester.testing.settings import Settings
from harvester.testing.truth import Difference, compare, harvested
from harvester.transport import LOOP_CLOCK, Clock, TransportSettings
from harvester.windows import Resolution, Span

TOKEN_ENV = "HARVESTER_TEST_TOKEN"
DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = Span(start=START, end=START + 2 * DAY)


def hours(first: float, last: float) -> Span:
    return Span(start=START + timedelta(hours=first), end=START + timedelta(hours=last))


MISCHIEF: Final[list[list[dict[str, Any]]]] = [
    [{"page_cap": 37}],
    [{"page_cap": 43, "least": 11}],
    [{"page_cap": 43, "least": 11, "per": "offset"}],
    [{"page_cap": 43, "least": 11, "per": "request"}],
    [{"page_cap": 43, "least": 11}, {"order": "ignored"}],
    [{"ends": "exclusive"}],
    [{"ends": "seconds"}],
    [{"order": "ignored"}],
    [{"order": "ties"}],
    [{"order": "descending"}],
    [{"duplicates": 0.1}],
    [{"versions": 0.1}],
    [{"limit_refused": 40}],
    [{"offset_refused": 50}],
    [{"offset_ignored": True}],
    [{"more_than_limit": 3}],
    [{"result_code": 5, "share": 0.2}],
    [{"data": "null", "share": 0.2}],
    [{"body": "html", "share": 0.2}],
    [{"body": "cut_json", "share": 0.2}],
    [{"body": "empty", "share": 0.2}],
    [{"body": "bom"}],
    [{"body": "pretty"}],
    [{"cut": "length", "share": 0.2}],
    [{"cut": "close", "share": 0.2}],
    [{"reset": "midway", "share": 0.1}],
    [{"status": 503, "share": 0.1}],
    [{"status": 429, "retry_after": 0, "share": 0.1}],
    [{"status": 500, "share": 0.1}, {"page_cap": 41}, {"duplicates": 0.05}, {"ends": "exclusive"}],
]
"""Faults under which a harvest is exact; the simulator knows what each means."""


def settings(out: Path, url: str = "http://127.0.0.1:9", **other: Any) -> Job:
    """A job for interactions at hour resolution over two days; `other` replaces parts of it."""
    transport = TransportSettings(
        base_url=url,
        **{
            "token_env": TOKEN_ENV,
            "concurrency": 4,
            "max_attempts": 4,
            "max_outage_s": 2.0,
            **other.pop("transport", {}),
        },
    )
    output = OutputSettings(url=str(out), **other.pop("output", {}))
    name = other.pop("dialect", "")
    dialect = dialects.load(name) if name else _interactions()
    zone = other.pop("time_zone", "UTC")
    resolution = other.pop("resolution", Resolution.HOUR)
    fingerprint = {
        "dialect": dialect.name,
        "base_url": "the simulator",
        "time_zone": zone,
        "partition_by": output.partition_by,
        "compression": output.compression,
        "shard_bytes": output.shard_bytes,
    }
    return replace(
        Job(
            dialect=dialect.select(
                time_zone=zone,
                resolution=None if resolution is Resolution.AUTO else resolution.value,
                **other.pop("select", {}),
            ),
            span=other.pop("span", SPAN),
            time_zone=ZoneInfo(zone),
            resolution=resolution,
            page_size=other.pop("page_size", 100),
            transport=transport,
            output=output,
            fingerprint=fingerprint,
        ),
        **other,
    )


@cache
def _interactions() -> dialects.Dialect:
    return dialects.load("interactions")


class HastyClock:
    """A clock on which waits are short: backoff and pauses take a hundredth of their time."""

    factor = 100

    def monotonic(self) -> float:
        return self.factor * LOOP_CLOCK.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float, /) -> None:
        await LOOP_CLOCK.sleep(seconds / self.factor)


class SimulatorsClock(HastyClock):
    """The client's wall clock goes with the simulator's, which `set_now` has stopped somewhere."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def now(self) -> datetime:
        return self._simulator.now()


class World:
    """A simulator, and what happened in the runs against it."""

    def __init__(self, simulator: Simulator, out: Path) -> None:
        self.simulator = simulator
        self.out = out
        self.heard: list[events.Event] = []
        self._news = anyio.Event()

    def hear(self, event: events.Event) -> None:
        self.heard.append(event)
        if isinstance(event, events.WindowDone | events.PageFetched):  # told in the loop's own thread
            self._news.set()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Waits for something that a page or a window brings about."""
        while not happened():
            self._news = anyio.Event()
            await self._news.wait()

    def windows_done(self) -> int:
        return sum(isinstance(event, events.WindowDone) for event in self.heard)

    def job(self, **other: Any) -> Job:
        return settings(other.pop("out", self.out), self.simulator.url, **other)

    async def run(
        self,
        *,
        with_harvest: Callable[[Harvest], Coroutine[Any, Any, None]] | None = None,
        held: Held | None = None,
        clock: Clock | None = None,
        **other: Any,
    ) -> Outcome:
        harvest = Harvest(self.job(**other), emit=self.hear, held=held, clock=clock or HastyClock())
        if with_harvest is None:
            return await harvest.run()
        outcomes: list[Outcome] = []

        async def running() -> None:
            outcomes.append(await harvest.run())
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(running)
            group.start_soon(with_harvest, harvest)
        return outcomes[0]

    def difference(self, out: Path | None = None, *, span: Span = SPAN, **asked: str) -> Difference:
        """The output against what a perfect harvest of `span` holds."""
        lines = lines_of_truth(
            self.simulator, {"start": span.start.isoformat(), "end": span.end.isoformat(), **asked}
        )
        return compare(lines, harvested(out or self.out), asked.get("dataset", "interactions"))

    def requests(self) -> int:
        return self.simulator.stats.requests


def live(
    tmp_path: Path,
    story: Callable[[World], Awaitable[None]],
    *,
    records: int = 600,
    limit_s: float = 120,
    **other: Any,
) -> None:
    """Plays a story in a world of its own."""

    async def playing() -> None:
        os.environ[TOKEN_ENV] = Settings().token
        given: dict[str, Any] = {"records": records, "end": SPAN.end, **other}
        async with Simulator(Settings(**given)).start() as simulator:
            with anyio.fail_after(limit_s):  # a story that hangs is a failure and no reason to wait
                await story(World(simulator, tmp_path / "out"))

    anyio.run(playing)


def manifest(out: Path) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads((out / "_manifest.json").read_bytes())
    return told


def digests(out: Path) -> dict[str, str]:
    """Path to SHA-256 of each shard, as the manifest tells it."""
    return {shard["path"]: shard["sha256"] for shard in manifest(out)["shards"]}


@contextmanager
def untouched(out: Path) -> Iterator[None]:
    """Fails where anything under `out` but the ledger's bookkeeping changes inside the block."""
    before = _picture(out)
    yield
    assert _picture(out) == before


def _picture(out: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(out).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file() and "_harvest" not in path.parts
    }
