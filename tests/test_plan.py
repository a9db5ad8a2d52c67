"""The plan: what it says a run would ask is what the run asks, as the simulator counts it."""

from pathlib import Path

import pytest

from harvester.plan import plan
from harvester.windows import Resolution, Span
from tests.harvesting import SPAN, World, live, settings

NOTHING_YET = Span(start=SPAN.start.replace(year=2020), end=SPAN.end.replace(year=2020))


@pytest.mark.parametrize("records", [0, 40, 1500])
@pytest.mark.parametrize("page_size", [100, 1000])
@pytest.mark.parametrize("resolution", list(Resolution))
def test_a_run_asks_as_often_as_its_plan_says(
    tmp_path: Path, resolution: Resolution, page_size: int, records: int
) -> None:
    """Also of a source that holds nothing there, where one answer proves several windows."""

    async def story(world: World) -> None:
        span = SPAN if records else NOTHING_YET
        job = world.job(span=span, resolution=resolution, page_size=page_size)
        nobody_knows, known = plan(job), plan(job, expected_records=records)
        outcome = await world.run(span=span, resolution=resolution, page_size=page_size)
        assert outcome.exit_code == 0
        for one in (nobody_knows, known):
            assert one.windows == one.windows_to_ask == outcome.windows_total
            assert one.requests.least <= world.requests() <= one.requests.most
            assert one.records.least <= outcome.records <= one.records.most

    live(tmp_path, story, records=records or 40, cluster=1)


def test_windows_that_cannot_be_read_by_time_are_asked_for_one_by_one(tmp_path: Path) -> None:
    """Where pages are too small to show an order, the plan promises no less than a request a window."""
    small, usual = (plan(settings(tmp_path / "out", page_size=size)).requests.least for size in (3, 100))
    assert (small, usual) == (48, 6)
