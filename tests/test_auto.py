"""resolution = "Auto": stretches sized by what is in them, exact, with few more requests than full pages."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.verify import verify
from harvester.windows import Resolution, Span
from tests.harvesting import DAY, MISCHIEF, START, World, digests, live, manifest

AUTO: dict[str, Any] = {"resolution": Resolution.AUTO}


@pytest.mark.parametrize("page_size", [25, 100, 1000])
@pytest.mark.parametrize("rhythm", ["business", "flat", "bursty"])
def test_auto_gives_the_bytes_of_hour_windows(tmp_path: Path, page_size: int, rhythm: str) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "hours")
        outcome = await world.run(**AUTO, page_size=page_size)
        assert outcome.exit_code == 0, outcome.error
        assert not world.difference()
        assert digests(world.out) == digests(tmp_path / "hours")
        assert verify(world.out).is_good

    live(tmp_path, story, rhythm=rhythm, cluster=60)


@pytest.mark.parametrize(
    ("rhythm", "before", "behind", "more"),
    [
        ("business", 0, 0, 0),
        ("bursty", 0, 0, 0),
        ("office", 0, 0, 8),
        ("business", 365, 0, 1),
        ("business", 0, 365, 40),
    ],
)
def test_auto_asks_for_few_more_pages_than_are_full(
    tmp_path: Path, rhythm: str, before: int, behind: int, more: int
) -> None:
    """The smallest part of what `scripts/bench auto` counts: 20,000 records of 30 days, a page cap of 1000.
    Of the `more`, offices are shut on eight days, and for a year of nothing far fewer are needed than it has
    days."""

    end = START + 30 * DAY
    span = Span(start=START - before * DAY, end=end + behind * DAY)

    async def story(world: World) -> None:
        outcome = await world.run(**AUTO, span=span, page_size=1000)
        assert outcome.exit_code == 0
        assert not world.difference(span=span)
        assert world.requests() <= 1.25 * 20 + more

    live(tmp_path, story, records=20_000, end=end, slim=True, beyond=0, page_cap=1000, rhythm=rhythm)


def test_years_of_nothing_cost_one_request_or_two(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        span = Span(start=START - 1400 * DAY, end=START - 400 * DAY)
        outcome = await world.run(**AUTO, span=span)
        assert outcome.exit_code == 0
        assert world.requests() <= 2
        assert manifest(world.out)["complete"]

    live(tmp_path, story, records=10)


MORE_MISCHIEF: list[list[dict[str, Any]]] = [
    *MISCHIEF,
    [{"order": "shuffled"}],
    [{"window_refused_s": 7200}],
    [{"rows_refused": 90}],
]


@pytest.mark.parametrize(
    "faults", MORE_MISCHIEF, ids=lambda faults: "+".join(next(iter(fault)) for fault in faults)
)
def test_auto_is_exact_whatever_the_server_does(tmp_path: Path, faults: list[dict[str, Any]]) -> None:
    async def story(world: World) -> None:
        outcome = await world.run(
            **AUTO, transport={"max_attempts": 2 if "rows_refused" in faults[0] else 12}
        )
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps)
        assert not world.difference()

    live(tmp_path, story, records=400, cluster=60, faults=tuple(faults))


def test_a_poisoned_hour_is_narrowed_down_and_the_rest_is_there(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean", **AUTO)
        poisoned = START + timedelta(hours=30, minutes=10)
        world.simulator.set_faults(
            [
                {
                    "status": 500,
                    "start": poisoned.isoformat(),
                    "end": (poisoned + timedelta(minutes=5)).isoformat(),
                }
            ]
        )
        outcome = await world.run(**AUTO, transport={"max_attempts": 2})
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        lost = sum((gap.end - gap.start for gap in outcome.gaps), timedelta())
        assert lost <= timedelta(hours=2)
        assert any(gap.start <= poisoned < gap.end for gap in outcome.gaps)
        assert any(isinstance(event, events.WindowSplit) for event in world.heard)
        assert not any(isinstance(event, events.RowsMoved) for event in world.heard)
        world.simulator.set_faults([])
        assert (await world.run(**AUTO)).exit_code == 0
        assert not world.difference()
        assert digests(world.out) == digests(tmp_path / "clean")

    live(tmp_path, story)
