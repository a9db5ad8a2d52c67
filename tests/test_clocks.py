"""A clock that jumps between runs or while one runs: nothing is proven that was not over, nothing is lost."""

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from harvester import events
from harvester.job import Outcome
from harvester.ledger import read_status
from harvester.scheduler import Harvest
from harvester.transport import LOOP_CLOCK, ServerClock
from harvester.verify import verify
from harvester.windows import Resolution
from tests.harvesting import START, World, digests, hours, live

SPAN = hours(0, 25)
"""The hour from 24 to 25 is the one that is in question."""


class Shown:
    """A clock that shows what `at` says, and otherwise runs; hours since START."""

    def __init__(self, at: Callable[[], float]) -> None:
        self._at = at

    def monotonic(self) -> float:
        return LOOP_CLOCK.monotonic()

    def now(self) -> datetime:
        return START + timedelta(hours=self._at())

    async def sleep(self, seconds: float, /) -> None:
        await LOOP_CLOCK.sleep(seconds / 100)


class Unlooped(Shown):
    def monotonic(self) -> float:
        return time.monotonic()


async def run_at(world: World, at: float | Callable[[], float], resolution: Resolution) -> Outcome:
    clock = Shown(at if callable(at) else lambda: at)
    job = world.job(span=SPAN, resolution=resolution)
    return await Harvest(job, emit=world.hear, clock=clock).run()


def comes_late(world: World) -> None:
    """A record of the hour in question that the server had not yet when it was asked."""
    table = world.simulator.datasets.table("interactions")
    row = bytes(table.row(40))
    late = re.sub(rb"2024-01-0\dT\d\d:\d\d:\d\d.\d{3}Z", b"2024-01-02T00:45:00.000Z", row)
    table.insert(late.replace(late[8:32], b"f" * 24), noticed=False)


async def ends_exact(world: World, resolution: Resolution) -> None:
    outcome = await run_at(world, 30, resolution)
    assert outcome.exit_code == 0, outcome.error
    assert not world.difference(span=SPAN)
    clean = world.out.with_name("clean")
    await world.run(out=clean, span=SPAN, resolution=resolution)
    assert digests(world.out) == digests(clean)
    assert verify(world.out).is_good


@pytest.mark.parametrize(
    ("resolution", "then"),
    [
        (Resolution.HOUR, 24.3),
        (Resolution.HOUR, 0.5),
        (Resolution.QUARTER_HOUR, 24.3),
        (Resolution.AUTO, 24.3),
        (Resolution.AUTO, -300.0),
    ],
)
def test_a_window_that_a_fast_clock_called_over_does_not_stay_proven(
    tmp_path: Path, resolution: Resolution, then: float
) -> None:
    async def story(world: World) -> None:
        assert (await run_at(world, 25.2, resolution)).exit_code == 0  # by the true clock it is 24.2
        comes_late(world)
        outcome = await run_at(world, then, resolution)
        assert outcome.exit_code == 3
        (told,) = (event for event in world.heard if isinstance(event, events.ClockWentBack))
        assert told.windows > 0
        status = read_status(world.out)
        assert not status.complete
        assert status.open[-1].end == SPAN.end
        await ends_exact(world, resolution)

    live(tmp_path, story, records=300)


def test_what_has_long_been_over_is_not_asked_again_for_a_clock(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await run_at(world, 100, Resolution.HOUR)).exit_code == 0
        asked = world.requests()
        assert (await run_at(world, 99, Resolution.HOUR)).exit_code == 0
        assert world.requests() == asked
        assert (await run_at(world, 98.9999, Resolution.HOUR)).exit_code == 0  # a blink of an eye is no step
        assert sum(isinstance(event, events.ClockWentBack) for event in world.heard) == 1

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_a_clock_that_is_put_back_while_it_runs_takes_back_what_it_had_called_over(
    tmp_path: Path, resolution: Resolution
) -> None:
    async def story(world: World) -> None:
        def at() -> float:
            return 25.2 if world.windows_done() < 1 else 24.2

        outcome = await run_at(world, at, resolution)
        assert outcome.exit_code == 3
        comes_late(world)
        await ends_exact(world, resolution)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_a_clock_that_is_put_forward_while_it_runs_calls_nothing_over(
    tmp_path: Path, resolution: Resolution
) -> None:
    async def story(world: World) -> None:
        def at() -> float:
            return 24.2 if world.windows_done() < 1 else 25.2

        outcome = await run_at(world, at, resolution)
        assert outcome.exit_code == 3
        comes_late(world)
        await ends_exact(world, resolution)

    live(tmp_path, story, records=300)


def test_a_moment_that_lies_ahead_by_now_was_long_ago() -> None:
    shown = [25.0]
    clock = ServerClock(Unlooped(lambda: shown[0]))
    asked_at = clock.now()
    shown[0] = 24.0
    assert clock.earlier(asked_at) < START + timedelta(hours=1)


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 0001 00:00:00 GMT", "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT"]
)
def test_no_date_of_a_server_is_strange_enough_to_fail_on(date: str) -> None:
    clock = ServerClock(Unlooped(lambda: 24.0))
    clock.hear({"date": date})
    assert clock.earlier(START) <= START


def test_time_does_not_jump_forward_while_a_run_looks_at_it() -> None:
    shown = [24.0]
    clock = ServerClock(Unlooped(lambda: shown[0]))
    assert clock.now() == START + timedelta(hours=24)
    shown[0] = 25.0
    assert clock.now() < START + timedelta(hours=24, minutes=1)
    shown[0] = 23.0
    assert clock.now() == START + timedelta(hours=23)
