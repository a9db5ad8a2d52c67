"""A source that has room for a few requests at once, end to end: how many it sends away, by its own count."""

from pathlib import Path

from harvester.ledger import Ledger, home_of
from harvester.transport import LOOP_CLOCK
from harvester.windows import Resolution
from tests.harvesting import World, live

ROOM = 2


def test_where_more_are_sent_away_few_are_and_the_next_run_begins_with_as_many(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        outcome = await world.run(
            clock=LOOP_CLOCK, resolution=Resolution.HOUR, page_size=5, transport={"concurrency": 12}
        )
        assert outcome.exit_code == 0
        assert not world.difference()
        stats = world.simulator.stats
        assert stats.requests > 100
        assert 1 <= stats.by_status[429] <= 12
        assert stats.max_in_flight < 12
        with Ledger(home_of(world.out)) as ledger:
            assert 1 <= ledger.learned()["width"] < 12

    crowd = {"in_flight": ROOM, "code": 429, "retry_after": 0}
    live(tmp_path, story, records=500, faults=(crowd, {"latency_ms": 4.0}))
