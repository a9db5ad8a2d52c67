"""scheduler: how runs end when rooms fail, and that bounds hold while they go on."""

from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from harvester import events
from harvester.errors import StorageError
from harvester.ledger import Ledger
from harvester.output import Output
from harvester.records import Batch
from harvester.scheduler import Harvest, planning
from harvester.scheduler import harvest as scheduler
from harvester.scheduler.planning import Density
from harvester.scheduler.revocable import Revocable
from harvester.shards.disk import Disk
from harvester.verify import verify
from harvester.windows import Resolution, Span
from tests.harvesting import START, World, digests, live, manifest

DISK_OPERATIONS = ("create", "write", "close_durably", "sync_folder", "link", "replace", "make_folder")


@pytest.mark.parametrize("operation", DISK_OPERATIONS)
@pytest.mark.parametrize("nth", [1, 3, 6])
def test_a_disk_that_fails_ends_the_run_with_7_and_the_next_run_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, nth: int
) -> None:
    async def story(world: World) -> None:
        output = {"shard_bytes": 100_000}
        await world.run(out=tmp_path / "clean", output=output)
        calls = 0
        whole = getattr(Disk, operation)

        def failing(self: Disk, *values: object) -> object:
            nonlocal calls
            calls += 1
            if calls >= nth:
                raise StorageError("No space left on device")
            return whole(self, *values)

        with monkeypatch.context() as patch:
            patch.setattr(Disk, operation, failing)
            outcome = await world.run(output=output)
        assert calls >= nth or outcome.exit_code == 0
        assert (outcome.status, outcome.exit_code) == ("storage", 7) or calls < nth
        assert (await world.run(output=output)).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences

    live(tmp_path, story, records=300)


def test_a_ledger_that_fails_ends_the_run_with_7_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        def failing(self: Ledger, *values: object, **named: object) -> int:
            raise StorageError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "publish", failing)
            outcome = await world.run()
        assert outcome.exit_code == 7
        assert manifest(world.out)["records"] == 0
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story, records=300)


def test_an_unforeseen_error_goes_up_with_the_state_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        whole = Output.write
        calls = 0

        def failing(self: Output, batch: Batch) -> None:
            nonlocal calls
            calls += 1
            if calls == 30:
                raise ZeroDivisionError("nobody thought of this")
            whole(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Output, "write", failing)
            with pytest.raises(BaseExceptionGroup):
                await world.run()
        assert manifest(world.out)["complete"] is False
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story, records=300)


def test_no_more_windows_are_begun_than_the_look_ahead_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One window is slow; the others may only go so far ahead of it."""
    monkeypatch.setattr(scheduler, "LEAST_LOOKAHEAD", 6)
    monkeypatch.setattr(scheduler, "LOOKAHEAD", 1)
    monkeypatch.setattr(planning, "LOT_WINDOWS", 1)

    async def story(world: World) -> None:
        outcome = await world.run()
        assert outcome.exit_code == 0
        done = [event.start for event in world.heard if isinstance(event, events.WindowDone)]
        assert 6 <= done.index(START + timedelta(hours=4)) <= 4 + 5

    slow = {"latency_ms": 400, "start": "2024-01-01T04:10:00+00:00", "end": "2024-01-01T04:20:00+00:00"}
    live(tmp_path, story, records=300, faults=(slow,))


def test_one_empty_page_proves_days_of_nothing_in_several_partitions(tmp_path: Path) -> None:
    """The first few are asked for before anything is known; a partition each, and all of them published."""
    nothing = Span(start=START - timedelta(days=400), end=START - timedelta(days=360))

    async def story(world: World) -> None:
        one_at_a_time = {"concurrency": 1}
        outcome = await world.run(span=nothing, resolution=Resolution.DAY, transport=one_at_a_time)
        assert (outcome.exit_code, outcome.windows_done) == (0, 40)
        assert world.requests() <= 4 + 40 // planning.LOT_WINDOWS
        published = [event for event in world.heard if isinstance(event, events.PartitionPublished)]
        assert len(published) == 40
        assert all(event.complete for event in published)

    live(tmp_path, story, records=300)


def test_a_drain_does_not_wait_for_ever_for_windows_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "DRAIN_S", 0.2)

    async def story(world: World) -> None:
        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() >= 14)
            harvest.drain("signal")

        with anyio.fail_after(10):
            outcome = await world.run(with_harvest=stop, page_size=3)
        assert outcome.exit_code == 75
        told = manifest(world.out)
        assert told["records"] > 0
        assert told["gaps"][0]["error"] == "not asked yet"
        world.simulator.set_faults([])
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    fault = {
        "hang_s": 60,
        "start": "2024-01-01T10:10:00+00:00",
        "end": "2024-01-01T10:20:00+00:00",
        "offset": 1,  # its first page comes
    }
    live(tmp_path, story, records=600, faults=(fault,))


def test_a_drain_gives_back_the_windows_of_which_no_page_has_come(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        begun = set[datetime]()

        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() >= 3)
            begun.update(event.start for event in world.heard if isinstance(event, events.PageFetched))
            harvest.drain("signal")

        with anyio.fail_after(10):
            outcome = await world.run(
                with_harvest=stop, transport={"requests_per_second": 8, "concurrency": 16}
            )
        assert outcome.exit_code == 75
        assert outcome.windows_done == len(begun)  # those that had begun are finished
        assert world.requests() <= 2 * len(begun) + 1  # a second page proves the end; one was given back
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story)


def test_a_drain_lets_a_window_finish_of_which_a_page_has_come(tmp_path: Path) -> None:
    tenth = START + timedelta(hours=10)

    async def story(world: World) -> None:
        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() >= 14)
            harvest.drain("signal")

        outcome = await world.run(with_harvest=stop, page_size=3)
        assert outcome.exit_code == 75
        assert tenth in [event.start for event in world.heard if isinstance(event, events.WindowDone)]

    slow = {
        "latency_ms": 300,
        "start": (tenth + timedelta(minutes=10)).isoformat(),
        "end": (tenth + timedelta(minutes=20)).isoformat(),
        "offset": 1,
    }
    live(tmp_path, story, faults=(slow, {"order": "ignored"}))


def test_a_step_that_begins_after_it_was_taken_back_asks_for_nothing() -> None:
    class Source:
        asked = 0

        async def send(self, ask: int) -> int:
            await anyio.lowlevel.checkpoint()
            self.asked += 1
            return ask

    async def main() -> None:
        layer = Revocable[int, int](source)
        with layer.step():
            assert await layer.send(1) == 1
            layer.take_back()
            assert await layer.send(2) == 2
        with layer.step():
            await layer.send(3)

    source = Source()
    anyio.run(main)
    assert source.asked == 2


def test_a_lot_holds_no_more_records_than_have_room_in_memory() -> None:
    density = Density()
    assert density.records_in(1_000, 8_000) == 8_000  # nothing is known yet
    density.weigh(10, 30_000)
    assert density.records_in(9_000, 8_000) == 3
    assert density.records_in(1 << 30, 8_000) == 8_000


def test_where_nothing_was_so_far_windows_are_proven_empty_together(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        span = Span(start=START - timedelta(days=20), end=START + timedelta(days=2))
        assert (await world.run(span=span)).exit_code == 0
        done = [event for event in world.heard if isinstance(event, events.WindowDone)]
        assert len(done) == 22 * 24
        assert world.requests() < 22 * 24 / 2
        assert not world.difference(span=span)

    live(tmp_path, story, records=300)
