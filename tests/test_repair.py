"""run --repair: damaged partitions are fetched anew and replaced, and no stranger's file goes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.ledger import Ledger, home_of
from harvester.scheduler import Harvest, planning
from harvester.shards.disk import Disk
from harvester.verify import verify
from harvester.windows import Span
from tests.harvesting import DAY, SPAN, START, HastyClock, World, digests, hours, live, manifest, untouched

SMALL = {"shard_bytes": 60_000}


class Killed(BaseException):
    pass


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.write_bytes(b"somebody else's")


DAMAGES: list[Callable[[Path], None]] = [cut, flip, delete, replace]


async def repair(world: World, **other: Any) -> Any:
    other = {"output": SMALL, **other}
    return await Harvest(world.job(**other), emit=world.hear, clock=HastyClock(), repair=True).run()


def shards_of(out: Path, partition: str) -> list[Path]:
    return [out / shard["path"] for shard in manifest(out)["shards"] if shard["partition"] == partition]


def windows_asked(world: World) -> set[datetime]:
    """Starts of the windows that were read since this was asked last."""
    starts = {event.start for event in world.heard if isinstance(event, events.WindowDone)}
    world.heard.clear()
    return starts


def hours_of(day: int, first: int = 0) -> set[datetime]:
    return {START + day * DAY + timedelta(hours=hour) for hour in range(first, 24)}


def generations(out: Path) -> dict[str, int]:
    return {one["partition"]: one["generation"] for one in manifest(out)["partitions"]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_just_the_partitions_with_damaged_files_are_fetched_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted, asked = digests(world.out), world.requests()
        windows_asked(world)
        hit = shards_of(world.out, "2024-01-02")[1]
        damage(hit)
        named = {one.subject for one in verify(world.out).differences}
        assert hit.relative_to(world.out).as_posix() in named
        outcome = await repair(world)
        assert (outcome.exit_code, outcome.repaired, outcome.foreign) == (0, ["2024-01-02"], [])
        assert windows_asked(world) == hours_of(1)
        assert world.requests() - asked < asked * 2 / 3
        assert digests(world.out) == wanted
        assert generations(world.out) == {"2024-01-01": 1, "2024-01-02": 2}
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences
        assert verdict.complete
        assert not world.difference()
        asked = world.requests()
        with untouched(world.out):
            again = await repair(world)
        assert (again.exit_code, again.repaired, world.requests()) == (0, [], asked)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("damage", [cut, delete])
def test_without_the_flag_a_run_ends_with_7_names_it_and_changes_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        asked = world.requests()
        hit = shards_of(world.out, "2024-01-01")[0]
        damage(hit)
        with untouched(world.out):
            outcome = await world.run(output=SMALL)
        assert (outcome.exit_code, outcome.status) == (7, "storage")
        assert str(hit) in (outcome.error or "")
        assert "--repair" in (outcome.error or "")
        assert world.requests() == asked

    live(tmp_path, story, records=300)


def test_a_flipped_bit_in_what_is_finished_is_for_verify_to_find_and_for_repair_to_mend(
    tmp_path: Path,
) -> None:
    """A run that builds on nothing reads nothing: that a nightly run read all of the years before would be no
    help."""

    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted, asked = digests(world.out), world.requests()
        hit = shards_of(world.out, "2024-01-01")[1]
        flip(hit)
        with untouched(world.out):
            assert (await world.run(output=SMALL)).exit_code == 0
        assert world.requests() == asked
        assert str(hit.relative_to(world.out)) in {one.subject for one in verify(world.out).differences}
        assert (await repair(world)).exit_code == 0
        assert verify(world.out).is_good
        assert set(digests(world.out).values()) == set(wanted.values())

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("end", [6.5, 30.5])
def test_a_line_that_is_no_record_any_more_ends_a_run_that_counts_it_with_7(
    tmp_path: Path, end: float
) -> None:
    output = {**SMALL, "compression": "none"}

    async def story(world: World) -> None:
        await world.run(output=output)
        for hit in shards_of(world.out, "2024-01-01") + shards_of(world.out, "2024-01-02"):
            content = hit.read_bytes()
            hit.write_bytes(content.replace(b'{"', b'["'))
        with untouched(world.out):
            outcome = await world.run(output=output, span=hours(0, end))
        assert (outcome.exit_code, outcome.status) == (7, "storage")
        assert "is no record" in (outcome.error or "")

    live(tmp_path, story, records=300)


def test_a_flipped_bit_under_a_partition_that_grows_names_the_flag_too(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, span=hours(0, 36))
        hit = shards_of(world.out, "2024-01-02")[0]
        flip(hit)
        outcome = await world.run(output=SMALL)
        assert outcome.exit_code == 7
        assert str(hit) in (outcome.error or "")
        assert "--repair" in (outcome.error or "")
        assert (await repair(world)).exit_code == 0
        assert not world.difference()
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_somebody_elses_file_is_named_and_stays(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, span=hours(0, 30))
        strange = world.out / "dt=2024-01-01" / "notes.txt"
        strange.write_text("mine")
        squatter = world.out / "dt=2024-01-02" / "part-00001.jsonl.zst"
        squatter.write_text("mine too")
        flip(shards_of(world.out, "2024-01-01")[0])
        outcome = await repair(world)
        assert outcome.exit_code == 0
        assert outcome.foreign == ["dt=2024-01-01/notes.txt", "dt=2024-01-02/part-00001.jsonl.zst"]
        assert (strange.read_text(), squatter.read_text()) == ("mine", "mine too")
        told = [event.path for event in world.heard if isinstance(event, events.FileForeign)]
        assert told == outcome.foreign
        assert {one.subject for one in verify(world.out).differences} == set(outcome.foreign)
        strange.unlink()
        squatter.unlink()
        assert not world.difference()
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_a_partition_outside_of_the_jobs_span_is_repaired_as_far_as_it_was_asked_for(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted = digests(world.out)
        windows_asked(world)
        flip(shards_of(world.out, "2024-01-02")[0])
        outcome = await repair(world, span=hours(3, 5))
        assert (outcome.exit_code, outcome.repaired) == (0, ["2024-01-02"])
        assert windows_asked(world) == hours_of(1)
        assert digests(world.out) == wanted

    live(tmp_path, story, records=300)


def test_the_damaged_generation_stands_until_one_covers_what_it_covered(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted = digests(world.out)
        flip(shards_of(world.out, "2024-01-02")[0])
        late = Span(start=START + 1.5 * DAY, end=START + 2 * DAY)
        world.simulator.set_faults(
            [{"status": 500, "start": late.start.isoformat(), "end": late.end.isoformat()}]
        )
        outcome = await repair(world, transport={"max_attempts": 2})
        assert outcome.exit_code == 3
        assert outcome.repaired == []
        assert digests(world.out) == wanted  # the good shards among them are better than none
        assert generations(world.out)["2024-01-02"] == 1
        told = manifest(world.out)
        assert not told["complete"]
        assert [one["complete"] for one in told["partitions"]] == [True, False]
        world.simulator.set_faults([])
        windows_asked(world)
        assert (await world.run(output=SMALL)).exit_code == 0  # the flag is not needed to go on
        before_noon = late.start - timedelta(minutes=15)  # the fault touched the quarter before noon as well
        assert windows_asked(world) == {before_noon, *hours_of(1, 12)}
        assert digests(world.out) == wanted
        assert generations(world.out)["2024-01-02"] == 2
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_a_repair_that_is_killed_after_it_has_published_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new files have the names of the old ones: nothing that a build names may be taken for garbage."""

    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted = digests(world.out)
        flip(shards_of(world.out, "2024-01-02")[0])

        def killed(self: Ledger, build: int, paths: list[str]) -> int:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "publish", killed)
            with pytest.raises(BaseExceptionGroup):
                await repair(world)
        assert (await world.run(output=SMALL)).exit_code == 0
        assert digests(world.out) == wanted
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_a_path_that_stays_the_same_is_no_garbage_between_seal_and_publication(tmp_path: Path) -> None:
    from tests.test_ledger import done, receipt, sealed

    home_of(tmp_path).mkdir()
    with Ledger(home_of(tmp_path)) as ledger:
        ledger.publish(
            sealed(ledger, done(0), path="_harvest/staging/1"), [receipt("dt=2024-01-01/part-00000-aa.x")]
        )
        ledger.forget_garbage(ledger.garbage())
        build = sealed(ledger, done(1), path="_harvest/staging/2")
        ledger.seal(build, 1, [receipt("_harvest/staging/3")], [], ["dt=2024-01-01/part-00000-aa.x", "new"])
        assert ledger.garbage() == ["new"]


def test_what_was_staged_and_is_damaged_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "LOT_WINDOWS", 1)

    async def story(world: World) -> None:
        async def cut_short(harvest: Harvest) -> None:
            await world.until(lambda: any(isinstance(event, events.ShardSealed) for event in world.heard))
            harvest.cancel()

        output = {**SMALL, "partition_by": "month"}
        await world.run(output=output, with_harvest=cut_short)
        staged = Disk(world.out).files("_harvest/staging")
        assert staged
        flip(world.out / "_harvest/staging" / staged[0])
        assert (await world.run(output=output)).exit_code == 7
        outcome = await repair(world, output=output)
        assert (outcome.exit_code, outcome.repaired) == (0, ["2024-01"])
        assert not world.difference(span=SPAN)
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)
