"""Rows that move while they are paged: late ones come, others are deleted or written again, at each request.

What exact means then. Under a filter by the time of writing a record that is written again leaves its window
for the present one. When all windows of a span were over when they were asked for, what the source holds in
them at the end it held all the time they were read: each of these records is there, once. Beyond them there
may only be versions that the source did hold when their window was read; nothing is invented, and none
stands twice in one window. Under a filter by the time of starting a record stays in its window, in whatever
version it was met, and late ones may have come too late.
"""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester import events
from harvester.testing.control import lines_of_truth
from harvester.testing.truth import compare, harvested
from harvester.verify import verify
from harvester.windows import Resolution, Span
from tests.harvesting import DAY, START, SimulatorsClock, World, live

SPAN = Span(start=START, end=START + 6 * DAY)
WRITTEN = "RecordWrittenAtUtc"
BY_WRITTEN: dict[str, Any] = {"span": SPAN, "select": {"date_field": WRITTEN}}
CHURN: dict[str, Any] = {"churn": 2, "late": 1, "removed": 1, "step_s": 7.0}


def held(world: World) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in harvested(world.out)]


def demand_exact(world: World, date_field: str) -> None:
    asked = {"start": SPAN.start.isoformat(), "end": SPAN.end.isoformat(), "date_field": date_field}
    assert not compare(lines_of_truth(world.simulator, asked), harvested(world.out))
    strictly = compare(lines_of_truth(world.simulator, {**asked, "strict": "1"}), harvested(world.out))
    if date_field == WRITTEN:
        assert not strictly.missing, "what the source holds, it held while its window was read"
    versions = Counter((one["_id"], one[WRITTEN]) for one in held(world))
    assert set(versions.values()) == {1}
    assert all(
        SPAN.start.isoformat()[:23] <= one[date_field] < SPAN.end.isoformat()[:19] for one in held(world)
    )
    assert verify(world.out).is_good


@pytest.mark.parametrize(
    ("resolution", "order_by", "seed"),
    [
        (Resolution.AUTO, "_id", 1),
        (Resolution.AUTO, WRITTEN, 2),
        (Resolution.DAY, "_id", 3),
        (Resolution.DAY, WRITTEN, 4),
        (Resolution.HOUR, "_id", 5),
    ],
)
def test_what_stands_in_its_window_is_there_however_the_rest_moves(
    tmp_path: Path, resolution: Resolution, order_by: str, seed: int
) -> None:
    """The clock stops in the span first: records go from windows that are over, read or not, to the one that
    is not. The next run, when all are over, finds them there."""

    async def story(world: World) -> None:
        clock = SimulatorsClock(world.simulator)
        job = {**BY_WRITTEN, "resolution": resolution, "page_size": 20}
        job["select"] = {"date_field": WRITTEN, "order_by": order_by}
        world.simulator.set_faults([CHURN])
        world.simulator.set_now(START + timedelta(days=4, hours=7, minutes=20))
        outcome = await world.run(clock=clock, **job)
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        world.simulator.set_now(SPAN.end + timedelta(hours=1))
        job["select"] = {"date_field": WRITTEN, "order_by": order_by}
        outcome = await world.run(clock=clock, **job)
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps)
        demand_exact(world, WRITTEN)

    live(tmp_path, story, records=200, seed=seed, cluster=30)


@pytest.mark.parametrize(("resolution", "seed"), [(Resolution.AUTO, 1), (Resolution.DAY, 2)])
def test_late_records_and_new_versions_cost_no_other_its_place(
    tmp_path: Path, resolution: Resolution, seed: int
) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([CHURN])
        outcome = await world.run(resolution=resolution, page_size=20, span=SPAN)
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps)
        demand_exact(world, "StartedDateTimeUtc")

    live(tmp_path, story, records=200, seed=seed, cluster=30)


def test_a_walk_whose_rows_left_is_noticed_and_told(tmp_path: Path) -> None:
    """A month by the time of writing, page after page by offset, while rows leave: where nobody looks at the
    seams, each row that left takes another one with it."""

    async def story(world: World) -> None:
        world.simulator.set_faults([{"churn": 3, "every": 2}])
        outcome = await world.run(**BY_WRITTEN, resolution=Resolution.DAY, page_size=15)
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps)
        assert any(isinstance(event, events.RowsMoved) for event in world.heard)
        demand_exact(world, WRITTEN)

    live(tmp_path, story, records=400, now=SPAN.end + DAY)
