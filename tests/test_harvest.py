"""The harvest end to end, over a real socket: nothing lost or doubled, the same bytes, stopped, resumed."""

import re
import shutil
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.output.manifest import iso
from harvester.records import Held
from harvester.scheduler import Harvest
from harvester.shards import read_lines
from harvester.testing.control import lines_of_truth
from harvester.transport import LOOP_CLOCK
from harvester.verify import verify
from harvester.windows import Resolution, Span
from tests.harvesting import DAY, MISCHIEF, START, World, digests, hours, live, manifest, untouched

ROOT = Path(__file__).parent.parent
POISON: dict[str, Any] = {
    "status": 500,
    "start": (START + timedelta(hours=30, minutes=10)).isoformat(),
    "end": (START + timedelta(hours=30, minutes=50)).isoformat(),
}


def test_a_span_becomes_proven_files(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        outcome = await world.run()
        assert (outcome.status, outcome.exit_code) == ("complete", 0)
        assert not world.difference()
        told = manifest(world.out)
        assert told["complete"]
        assert told["records"] == outcome.records == outcome.records_written == 600
        assert [partition["partition"] for partition in told["partitions"]] == ["2024-01-01", "2024-01-02"]
        assert sorted(digests(world.out)) == [
            "dt=2024-01-01/part-00000.jsonl.zst",
            "dt=2024-01-02/part-00000.jsonl.zst",
        ]
        assert verify(world.out).is_good
        for path in [world.out, *world.out.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert list((world.out / "_harvest" / "staging").iterdir()) == []

    live(tmp_path, story)


def test_a_finished_output_is_asked_nothing_and_left_alone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run()
        asked = world.requests()
        with untouched(world.out):
            outcome = await world.run()
        assert world.requests() == asked
        assert (outcome.exit_code, outcome.records, outcome.records_written) == (0, 600, 0)
        assert outcome.windows_done == outcome.windows_total == 48

    live(tmp_path, story)


@pytest.mark.parametrize(
    "other",
    [
        {"transport": {"concurrency": 1}},
        {"transport": {"concurrency": 32}},
        {"page_size": 7},
        {"resolution": Resolution.DAY},
        {"resolution": Resolution.QUARTER_HOUR},
        {"held": Held(limit_bytes=0, run_bytes=10_000)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_bytes_depend_on_the_records_alone(tmp_path: Path, other: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        output = {"shard_bytes": 200_000}
        await world.run(output=output)
        outcome = await world.run(out=tmp_path / "other", output=output, **other)
        assert outcome.exit_code == 0
        assert digests(tmp_path / "other") == digests(world.out)
        assert len(digests(world.out)) > 6

    live(tmp_path, story)


def test_a_window_that_fails_is_a_gap_and_the_next_run_fills_it_alone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        world.simulator.set_faults([POISON])
        outcome = await world.run(transport={"max_attempts": 2})
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        assert outcome.gaps[0].start == START + timedelta(hours=30)
        assert outcome.gaps[-1].end == START + timedelta(hours=31)
        told = manifest(world.out)
        assert [partition["complete"] for partition in told["partitions"]] == [True, False]
        assert told["gaps"][0]["start"] == "2024-01-02T06:00:00.000Z"
        assert not (world.out / "_SUCCESS").exists()
        assert verify(world.out).is_good
        world.simulator.set_faults([])
        world.simulator.stats.reset()
        assert (await world.run()).exit_code == 0
        assert world.requests() <= 3
        assert digests(world.out) == digests(tmp_path / "clean")
        assert not world.difference()

    live(tmp_path, story)


@pytest.mark.parametrize("how", ["drain", "cancel"])
def test_a_run_that_is_stopped_midway_goes_on_where_it_was(tmp_path: Path, how: str) -> None:
    async def story(world: World) -> None:
        output = {"shard_bytes": 100_000}
        await world.run(out=tmp_path / "clean", output=output)

        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() >= stop_at)
            harvest.drain("signal")
            if how == "cancel":
                harvest.cancel()

        stop_at = 20
        for _ in range(2):
            world.heard.clear()
            outcome = await world.run(with_harvest=stop, output=output, transport={"concurrency": 2})
            assert outcome.exit_code in (75, 0)
            stop_at = 12
        world.simulator.stats.reset()
        outcome = await world.run(output=output)
        assert (outcome.status, outcome.exit_code) == ("complete", 0)
        assert world.requests() < 60
        assert digests(world.out) == digests(tmp_path / "clean")
        assert verify(world.out).is_good

    live(tmp_path, story, latency_ms=2)


def test_a_drained_run_publishes_what_has_come(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() > 0)
            harvest.drain("signal")

        outcome = await world.run(with_harvest=stop)
        assert (outcome.status, outcome.exit_code) == ("interrupted", 75)
        assert 0 < outcome.windows_done < 48
        told = manifest(world.out)
        assert not told["complete"]
        assert told["records"] == outcome.records > 0
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences
        assert not verdict.complete

    live(tmp_path, story, latency_ms=5)


def test_the_time_budget_ends_a_run_that_can_go_on(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        harvest = Harvest(world.job(), emit=world.hear, max_duration_s=0.05)
        outcome = await harvest.run()
        assert (outcome.status, outcome.exit_code) == ("time_budget", 10)
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story, latency_ms=20)


def test_a_refused_token_stops_all_at_once_and_keeps_what_is_done(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"expire_token": 20}])
        outcome = await world.run()
        assert (outcome.status, outcome.exit_code) == ("refused", 5)
        assert world.requests() < 20 + 8
        assert 0 < outcome.records < 600
        assert manifest(world.out)["records"] == outcome.records
        world.simulator.set_faults([])
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story)


@pytest.mark.parametrize(
    "spans",
    [
        [hours(0, 6.5), hours(6.5, 48)],
        [hours(30, 48), hours(0, 31)],
        [hours(10, 11), hours(40, 41), hours(0, 48)],
        [hours(5, 6), hours(7, 8), hours(6, 7), hours(0, 48)],
    ],
    ids=["forward", "backward", "islands", "bridge"],
)
@pytest.mark.parametrize("by", ["day", "month"])
def test_an_output_that_grows_ends_with_the_bytes_of_one_run(
    tmp_path: Path, spans: list[Span], by: str
) -> None:
    async def story(world: World) -> None:
        output = {"shard_bytes": 100_000, "partition_by": by}
        whole = hours(0, 24 * 31) if by == "month" else hours(0, 48)
        await world.run(out=tmp_path / "clean", output=output, span=whole, resolution=Resolution.DAY)
        for span in spans:
            outcome = await world.run(output=output, span=span)
            assert outcome.exit_code == 0
            verdict = verify(world.out)
            assert verdict.is_good, verdict.differences
            assert not world.difference(span=Span(start=span.start, end=span.end)).missing
        await world.run(output=output, span=whole, resolution=Resolution.DAY)
        assert digests(world.out) == digests(tmp_path / "clean")
        assert manifest(world.out)["complete"]

    live(tmp_path, story, records=300)


def test_two_partial_runs_and_one_over_their_union_leave_the_same_files(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(3, 20))
        await world.run(span=hours(20, 30))
        await world.run(out=tmp_path / "one", span=hours(3, 30))
        assert digests(world.out) == digests(tmp_path / "one")
        assert manifest(world.out)["spans"] == manifest(tmp_path / "one")["spans"]

    live(tmp_path, story)


def test_an_old_file_goes_only_when_a_manifest_without_it_stands(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 10))
        (old,) = digests(world.out)
        await world.run(span=hours(0, 24))
        assert old not in digests(world.out)
        assert not (world.out / old).exists()
        on_disk = {path.relative_to(world.out).as_posix() for path in world.out.glob("dt=*/*")}
        assert on_disk == set(digests(world.out))

    live(tmp_path, story)


def test_another_job_and_a_second_run_are_turned_away(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run()
        with untouched(world.out):
            outcome = await world.run(output={"compression": "gzip"})
        assert (outcome.status, outcome.exit_code) == ("locked", 8)
        assert "compression" in (outcome.error or "")
        asked = world.requests()

        async def second(harvest: Harvest) -> None:
            await world.until(lambda: world.requests() > asked)
            outcome = await Harvest(world.job(out=tmp_path / "new")).run()
            assert (outcome.status, outcome.exit_code) == ("locked", 8)

        assert (await world.run(out=tmp_path / "new", with_harvest=second)).exit_code == 0

    live(tmp_path, story, latency_ms=2)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_other_compressions_hold_the_same_records(tmp_path: Path, compression: str) -> None:
    async def story(world: World) -> None:
        await world.run(output={"compression": compression})
        assert not world.difference()
        assert verify(world.out).is_good

    live(tmp_path, story)


def test_partitions_and_windows_are_of_the_jobs_zone_also_when_the_clocks_change(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        span = Span(start=datetime(2024, 3, 30, 23, tzinfo=UTC), end=datetime(2024, 3, 31, 22, tzinfo=UTC))
        outcome = await world.run(span=span, time_zone="Europe/Berlin")
        assert outcome.windows_total == 23
        assert [partition["partition"] for partition in manifest(world.out)["partitions"]] == ["2024-03-31"]
        assert manifest(world.out)["partitions"][0]["complete"]

    live(tmp_path, story)


@pytest.mark.parametrize("dataset", ["messages", "events"])
def test_other_datasets_are_harvested_by_their_dialect_alone(tmp_path: Path, dataset: str) -> None:
    async def story(world: World) -> None:
        name = {"messages": "messages", "events": "agent-workstate-events"}[dataset]
        outcome = await world.run(dialect=name)
        assert outcome.exit_code == 0, outcome.error
        assert outcome.records > 50
        assert not world.difference(dataset=dataset)
        assert verify(world.out).is_good

    live(tmp_path, story)


@pytest.mark.parametrize(("path", "is_told"), [("RecordWrittenAtUtc", False), ("RecordWritenAtUtc", True)])
def test_a_version_that_no_record_has_is_told(tmp_path: Path, path: str, is_told: bool) -> None:
    """Of two versions of one record their bytes would decide, and nobody know. It is no error: the version of
    a source may be null as long as nothing was written again."""
    dialect = tmp_path / "own.toml"
    known = (ROOT / "config" / "sources" / "interactions.toml").read_text()
    dialect.write_text(known.replace('version = "RecordWrittenAtUtc"', f'version = "{path}"'))

    async def story(world: World) -> None:
        assert (await world.run(dialect=str(dialect))).exit_code == 0
        heard = [event.field for event in world.heard if isinstance(event, events.FieldNeverSeen)]
        assert heard == [path] * is_told

    live(tmp_path, story, records=20)


def test_aggregates_belong_to_the_window_that_was_asked_for(tmp_path: Path) -> None:
    """Also where two windows have the same sums: an agent on a break for hours is one record in each."""

    async def story(world: World) -> None:
        outcome = await world.run(dialect="agent-workstate-rollup")
        assert outcome.exit_code == 0, outcome.error
        assert outcome.records > 50
        assert not world.difference(dataset="rollup", resolution="Hour")
        shards = manifest(world.out)["shards"]
        lines = [line for shard in shards for line in read_lines(world.out / shard["path"])]
        sums = [line.partition(b',"_window_start"')[0] for line in lines]
        assert len(set(sums)) < len(sums) == len(set(lines))
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences

    live(tmp_path, story, records=2000)


def test_a_chosen_set_of_fields_still_holds_what_the_harvest_needs(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        outcome = await world.run(select={"fields": ["AgentId"]})
        assert outcome.exit_code == 0
        fields = "AgentId,_id,StartedDateTimeUtc,RecordWrittenAtUtc"
        assert not world.difference(fields=fields)

    live(tmp_path, story)


@pytest.mark.parametrize(
    "faults", MISCHIEF, ids=lambda faults: "+".join(next(iter(fault)) for fault in faults)
)
def test_the_harvest_is_exact_whatever_the_server_does(tmp_path: Path, faults: list[dict[str, Any]]) -> None:
    async def story(world: World) -> None:
        outcome = await world.run(resolution=Resolution.DAY, transport={"max_attempts": 12})
        assert outcome.exit_code == 0, outcome.error
        assert not world.difference()

    live(tmp_path, story, records=400, cluster=60, faults=tuple(faults))


def test_items_that_are_no_records_are_kept_apart_and_no_other_is_lost(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        world.simulator.set_faults([{"record": "no_key", "one_in": 100}])
        outcome = await world.run()
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        assert "quarantined" in outcome.gaps[0].error
        assert not world.difference()
        quarantine = world.out / "_harvest" / "quarantine"
        assert len(list(quarantine.iterdir())) == len(outcome.gaps)
        world.simulator.set_faults([])
        assert (await world.run()).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")
        assert list(quarantine.iterdir()) == []

    live(tmp_path, story)


@pytest.mark.parametrize(
    "fault", [{"body": "html"}, {"result_code": 5}, {"data": "missing"}, {"record": "no_key", "one_in": 1}]
)
def test_a_source_that_never_gives_one_good_page_breaks_its_contract(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    async def story(world: World) -> None:
        outcome = await world.run(transport={"max_attempts": 2})
        assert (outcome.status, outcome.exit_code) == ("contract", 6)
        assert manifest(world.out)["records"] == 0

    live(tmp_path, story, faults=(fault,))


def test_large_windows_go_to_disk_and_memory_keeps_its_bound(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        held = Held(limit_bytes=300_000, run_bytes=50_000)
        highest = 0

        def watch(event: events.Event) -> None:
            nonlocal highest
            highest = max(highest, held.bytes)

        outcome = await Harvest(
            world.job(resolution=Resolution.DAY, page_size=50), emit=watch, held=held
        ).run()
        assert outcome.exit_code == 0
        assert not world.difference()
        assert highest < 2 * 300_000 + 6 * 50 * 3_500  # the bound, and a page in each hand
        assert held.bytes == 0
        assert list((world.out / "_harvest" / "staging").iterdir()) == []

    live(tmp_path, story)


def test_an_output_that_is_damaged_is_not_built_upon(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 10))
        (shard,) = digests(world.out)
        path = world.out / shard
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        outcome = await world.run(span=hours(0, 24))
        assert (outcome.status, outcome.exit_code) == ("storage", 7)
        assert shard in (outcome.error or "")
        assert path.read_bytes() == content

    live(tmp_path, story)


def test_years_of_nothing_cost_few_transactions(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        span = Span(start=START + 400 * DAY, end=START + 460 * DAY)
        outcome = await world.run(span=span)
        assert (outcome.exit_code, outcome.windows_total, outcome.shards) == (0, 1440, 0)
        assert len(manifest(world.out)["partitions"]) == 60
        assert verify(world.out).is_good

    live(tmp_path, story, records=10)


class Standing:
    """A clock that stands still at one moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def monotonic(self) -> float:
        return LOOP_CLOCK.monotonic()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float, /) -> None:
        await LOOP_CLOCK.sleep(seconds / 100)


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_what_is_not_over_is_kept_and_asked_for_again(tmp_path: Path, resolution: Resolution) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean", resolution=resolution)
        world.simulator.stats.reset()
        half_past = START + timedelta(hours=30, minutes=30)
        job = world.job(resolution=resolution)
        outcome = await Harvest(job, clock=Standing(half_past)).run()
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        assert "provisional" in outcome.gaps[0].error or "future" in outcome.gaps[0].error
        told = manifest(world.out)
        spans = [(iso(gap.start), iso(gap.end)) for gap in outcome.gaps]
        assert spans == [(gap["start"], gap["end"]) for gap in told["gaps"]], "the summary names each of them"
        assert told["complete"] is False
        assert told["gaps"][-1]["end"] == "2024-01-03T00:00:00.000Z"
        assert told["records"] > 0
        assert not (world.out / "_SUCCESS").exists()
        assert (await Harvest(job, clock=Standing(START + 2 * DAY)).run()).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")

    live(tmp_path, story)


def test_a_span_without_records_is_complete_also_after_a_run_that_was_refused(tmp_path: Path) -> None:
    """The manifest of the first run says that nothing is there, and so does what the second one found."""

    async def story(world: World) -> None:
        nobody_there = Span(start=START - 9 * DAY, end=START - 8 * DAY)
        world.simulator.set_faults([{"forbid": True}])
        assert (await world.run(span=nobody_there)).exit_code == 5
        world.simulator.set_faults([])
        outcome = await world.run(span=nobody_there)
        assert (outcome.exit_code, outcome.windows_done, outcome.gaps) == (0, 24, [])
        assert manifest(world.out)["complete"]

    live(tmp_path, story)


@pytest.mark.parametrize("ahead_s", [0, 5400])
@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_a_window_is_over_when_it_is_by_the_earlier_of_both_clocks(
    tmp_path: Path, resolution: Resolution, ahead_s: int
) -> None:
    """Ours says 31:30 and the server's 30:00, or both 31:30. The hour from 30 on is over in the second case
    alone; in the first a record still comes into it."""

    async def story(world: World) -> None:
        ours = START + timedelta(hours=31, minutes=30)
        there_s = ours.timestamp() - ahead_s - time.time()
        world.simulator.set_faults([{"skew_s": there_s}])
        job = world.job(resolution=resolution, span=hours(0, 31))
        outcome = await Harvest(job, emit=world.hear, clock=Standing(ours)).run()
        told = [event for event in world.heard if isinstance(event, events.ServerClockBehind)]
        if not ahead_s:
            assert (outcome.exit_code, told) == (0, [])
            return
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        assert "provisional" in outcome.gaps[-1].error
        assert outcome.gaps[-1].end == START + timedelta(hours=31)
        assert [abs(event.behind_s - ahead_s) < 30 for event in told] == [True]
        table = world.simulator.datasets.table("interactions")
        late = re.sub(
            rb"2024-01-0\dT\d\d:\d\d:\d\d.\d{3}Z", b"2024-01-02T06:45:00.000Z", bytes(table.row(40))
        )
        table.insert(late.replace(late[8:32], b"f" * 24), noticed=False)
        world.simulator.set_faults([{"skew_s": there_s + ahead_s}])
        assert (await Harvest(job, clock=Standing(ours)).run()).exit_code == 0
        assert not world.difference(span=hours(0, 31))

    live(tmp_path, story, records=300)


def test_a_span_that_lies_in_the_future_is_not_asked_for(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        outcome = await Harvest(world.job(), clock=Standing(START)).run()
        assert outcome.exit_code == 3
        assert "future" in outcome.gaps[0].error
        assert world.requests() == 0

    live(tmp_path, story, records=20)


@pytest.mark.parametrize("how", ["gone", "cut", "grown", "folder"])
def test_a_run_never_says_complete_over_files_that_are_not_there(tmp_path: Path, how: str) -> None:
    async def story(world: World) -> None:
        await world.run()
        shard = world.out / sorted(digests(world.out))[0]
        content = shard.read_bytes()
        if how == "folder":
            shutil.rmtree(shard.parent)
        elif how == "gone":
            shard.unlink()
        else:
            shard.write_bytes(content[:-1] if how == "cut" else content + b"x")
        asked = world.requests()
        outcome = await world.run()
        assert (outcome.status, outcome.exit_code) == ("storage", 7)
        assert shard.name in (outcome.error or "")
        assert world.requests() == asked
        shard.parent.mkdir(exist_ok=True)
        shard.write_bytes(content)
        assert (await world.run()).exit_code == 0

    live(tmp_path, story, records=50)


@pytest.mark.parametrize("how", ["gone", "empty", "folder", "all"])
def test_an_output_without_its_ledger_is_not_begun_anew(tmp_path: Path, how: str) -> None:
    async def story(world: World) -> None:
        await world.run()
        ledger = world.out / "_harvest" / "ledger.sqlite"
        ledger.unlink()
        if how == "empty":
            ledger.touch()
        elif how == "folder":
            ledger.mkdir()
        elif how == "all":
            shutil.rmtree(ledger.parent)
        with untouched(world.out):
            outcome = await world.run()
        assert ledger.parent.exists() == (how != "all")
        assert (outcome.status, outcome.exit_code) == ("storage", 7)
        assert "ledger" in (outcome.error or "")

    live(tmp_path, story, records=50)


@pytest.mark.parametrize(
    "span", [hours(5.25, 5.5), hours(3.1, 30.7), hours(0, 48)], ids=["quarter", "odd", "whole"]
)
def test_records_are_counted_for_the_span_also_where_it_cuts_what_is_done(tmp_path: Path, span: Span) -> None:
    async def story(world: World) -> None:
        await world.run()
        outcome = await world.run(span=span)
        lines = lines_of_truth(
            world.simulator, {"start": span.start.isoformat(), "end": span.end.isoformat()}
        )
        assert outcome.records == len(list(lines))

    live(tmp_path, story)
