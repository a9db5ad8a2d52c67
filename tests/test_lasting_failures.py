"""What fails on every try: narrowed down where a smaller range may pass, else given up in time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.pages import GIVEN_UP_IN_A_ROW
from harvester.scheduler.harvest import PARSING
from harvester.transport.retry import UNHEARD_OF
from harvester.windows import Resolution, Span
from tests.harvesting import START, World, live

HOUR, DAY, AUTO = Resolution.HOUR, Resolution.DAY, Resolution.AUTO
ORDERS: list[list[dict[str, Any]]] = [[], [{"order": "ignored"}]]
"""Read by time, and walked one by one."""


def splits(world: World) -> list[events.WindowSplit]:
    return [event for event in world.heard if isinstance(event, events.WindowSplit)]


@pytest.mark.parametrize("order", ORDERS, ids=["by time", "by offset"])
@pytest.mark.parametrize("resolution", [HOUR, DAY], ids=str)
def test_a_window_of_fixed_length_that_is_always_too_slow_is_split_until_its_parts_are_not(
    tmp_path: Path, resolution: Resolution, order: list[dict[str, Any]]
) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"rows_refused": 25, "code": 504}, *order])
        outcome = await world.run(resolution=resolution, transport={"max_attempts": 2})
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps[:2])
        assert not world.difference()
        assert splits(world)
        assert world.simulator.stats.by_status[504]

    records = 200 if resolution is DAY else 2_000
    live(tmp_path, story, records=records, rhythm="flat", cluster=0)


@pytest.mark.parametrize("order", ORDERS, ids=["by time", "by offset"])
def test_deep_offsets_that_time_out_split_the_window(tmp_path: Path, order: list[dict[str, Any]]) -> None:
    """The first page comes; each row of Offset takes a twentieth of a second, and half a second is given. A
    quarter of an hour is narrowed down too, since its first page came."""
    span = Span(start=START + timedelta(hours=3), end=START + timedelta(hours=4))

    async def story(world: World) -> None:
        world.simulator.set_faults([{"slow_offset_ms": 50_000.0}, *order])
        outcome = await world.run(
            resolution=Resolution.QUARTER_HOUR,
            page_size=20,
            span=span,
            transport={"request_timeout_s": 0.5, "max_attempts": 2},
        )
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps[:2])
        assert not world.difference(span=span)
        assert bool(splits(world)) == bool(order)

    live(tmp_path, story, records=5_000, rhythm="flat", cluster=0)


@pytest.mark.parametrize("resolution", [HOUR, DAY, AUTO], ids=str)
@pytest.mark.parametrize("order", ORDERS, ids=["by time", "by offset"])
def test_a_server_that_fails_on_all_from_some_moment_on_is_left_after_so_many_tries(
    tmp_path: Path, resolution: Resolution, order: list[dict[str, Any]]
) -> None:
    """Two tries of each request; no window is narrowed down once as many as that have been given up in a
    row, so all that is left costs one request a window, and not one a quarter of an hour."""

    async def story(world: World) -> None:
        world.simulator.set_faults([{"status": 500, "after": 20}, *order])
        outcome = await world.run(
            resolution=resolution, page_size=20, transport={"max_attempts": 2, "concurrency": 1}
        )
        assert outcome.exit_code == 3
        windows = 48 if resolution is HOUR or (order and resolution is AUTO) else 2
        halves = GIVEN_UP_IN_A_ROW if order else 1  # made before, each asked for once more
        assert world.simulator.stats.by_status[500] <= 2 * (GIVEN_UP_IN_A_ROW + halves + windows)
        lost = sum((gap.end - gap.start for gap in outcome.gaps), timedelta())
        assert timedelta(hours=1) < lost <= timedelta(days=2)

    live(tmp_path, story, records=600)


@pytest.mark.parametrize("code", [302, 304, 404, 405, 409, 410, 425])
def test_a_server_that_only_ever_redirects_or_knows_nothing_of_it_is_the_wrong_one(
    tmp_path: Path, code: int
) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"status": code, "content": "empty"}])
        outcome = await world.run(resolution=HOUR, transport={"max_attempts": 8, "concurrency": 2})
        assert outcome.exit_code == 6
        tasks = 2 + PARSING
        assert UNHEARD_OF <= world.simulator.stats.by_status[code] <= tasks * UNHEARD_OF

    live(tmp_path, story, records=20)


def test_a_stretch_that_is_refused_for_good_is_not_asked_for_second_by_second(tmp_path: Path) -> None:
    """A refusal may be for a range that is too long, so it is halved down to a second; but 90 minutes have
    5,400 of them."""
    bad = Span(start=START + timedelta(hours=6), end=START + timedelta(hours=7, minutes=30))

    async def story(world: World) -> None:
        fault = {"status": 400, "start": bad.start.isoformat(), "end": bad.end.isoformat()}
        world.simulator.set_faults([fault])
        outcome = await world.run(resolution=AUTO, page_size=20)
        assert outcome.exit_code == 3
        assert world.simulator.stats.by_status[400] <= 150
        quarter = timedelta(minutes=15)
        assert bad.start - quarter <= outcome.gaps[0].start
        assert outcome.gaps[-1].end <= bad.end + quarter
        before = Span(start=START, end=bad.start - quarter)
        after = Span(start=bad.end + quarter, end=START + timedelta(days=2))
        assert not world.difference(span=before).missing
        assert not world.difference(span=after).missing
        assert 0 < len(world.difference().missing) < 60

    live(tmp_path, story, records=600)


@pytest.mark.parametrize("resolution", [HOUR, AUTO], ids=str)
def test_a_server_that_refuses_whatever_is_asked_breaks_its_contract(
    tmp_path: Path, resolution: Resolution
) -> None:
    """It is no gap: no smaller window and no smaller page would ever be served."""

    async def story(world: World) -> None:
        world.simulator.set_faults([{"status": 400}])
        outcome = await world.run(resolution=resolution)
        assert outcome.exit_code == 6
        assert world.simulator.stats.by_status[400] <= 1000

    live(tmp_path, story, records=200)
