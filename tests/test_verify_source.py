"""verify --source: names each record that the output and the source do not have alike, and no other."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli import main
from harvester.dialects import Row
from harvester.errors import ContractBroken, OtherJob, Refused, VerificationFailed
from harvester.shards import read_lines
from harvester.testing import Settings, running
from harvester.verify_source import Finding, SourceVerdict, verify_source
from harvester.verify_source.compare import changed_fields, compared, joined
from harvester.verify_source.cut import SAMPLED_CELL, SHIFT, Cut, cells, cuts, entry, other_page_size, sampled
from harvester.windows import Resolution, Span, Window
from tests.harvesting import DAY, SPAN, START, HastyClock, World, hours, live, manifest

MS = timedelta(milliseconds=1)
Lines = list[bytes]


def row(number: int, at_ms: int, version: str = "2024-01-01T00:00:00.000Z", more: str = "") -> Row:
    key = f"{number:024x}"
    return START + at_ms * MS, key, version, f'{{"_id":"{key}","v":"{version}"{more}}}'.encode()


def newer(one: str, other: str) -> bool:
    return one > other


# --- which windows


spans = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)).map(
        lambda pair: Span(start=START + pair[0] * MS, end=START + (pair[0] + pair[1]) * MS)
    ),
    min_size=1,
    max_size=1,
)


@given(spans=spans, hours=st.integers(1, 30))
def test_cells_tile_the_spans(spans: list[Span], hours: int) -> None:
    """No gap in which a loss could hide, and no edge where a run's window may have had one."""
    found = list(cells(spans, timedelta(hours=hours)))
    assert found[0].start == spans[0].start
    assert found[-1].end == spans[0].end
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all((cell.start - START) % timedelta(minutes=15) for cell in found[1:])
    assert SHIFT % timedelta(seconds=1)


def test_a_sample_is_as_large_as_asked_and_the_same_for_the_same_seed() -> None:
    found = list(cells([Span(start=START, end=START + 10 * DAY)], timedelta(hours=1)))
    chosen = sampled(found, 0.1, seed=7)
    assert len(chosen) == 25  # of 241
    assert chosen == sorted(chosen) == sampled(found, 0.1, seed=7) != sampled(found, 0.1, seed=8)
    assert sampled(found, 1e-9, seed=7)
    assert sampled(found, 1.0, seed=7) == found


@given(
    times=st.lists(st.integers(0, 3000), max_size=60).map(sorted),
    most=st.integers(1, 12),
    edges=st.sets(st.integers(1, 2999), max_size=6),
)
def test_cuts_hold_each_row_once_and_in_its_own_window(times: list[int], most: int, edges: set[int]) -> None:
    ends = [0, *sorted(edges), 3000]
    asked = [Window(start=START + a * MS, end=START + b * MS) for a, b in pairwise(ends)]
    rows = [row(number, at) for number, at in enumerate(times)]
    found = list(cuts(rows, asked, most_records=most))
    assert [found[0].window.start, found[-1].window.end] == [asked[0].start, asked[-1].end]
    assert all(a.window.end == b.window.start for a, b in pairwise(found))
    assert sum(len(cut.here) for cut in found) == sum(at < 3000 for at in times)
    for cut in found:
        at = [known[0] for known in cut.here.values()]
        assert all(map(cut.window.contains, at))
        assert len(at) <= most or at.count(max(at)) > len(at) - most


@pytest.mark.parametrize(("size", "most", "other"), [(1000, None, 750), (4, 4, 3), (1, None, 2), (1, 1, 1)])
def test_the_page_size_is_another_where_it_can_be(size: int, most: int | None, other: int) -> None:
    assert other_page_size(size, most) == other


# --- what differs

SECOND = Window(start=START, end=START + 1000 * MS)


def found(here: list[Row], there: list[Row]) -> list[Finding]:
    cut = Cut(window=SECOND, here={one[1]: entry(one) for one in here})
    return joined(compared(cut, there, newer), newer)


OLD, NEW = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"


@pytest.mark.parametrize(
    ("here", "there", "kinds"),
    [
        ([row(1, 5), row(2, 5)], [row(2, 5), row(1, 5)], []),
        ([], [row(1, 5)], ["missing"]),
        ([row(1, 5)], [], ["gone"]),
        ([row(1, 5, OLD)], [row(1, 5, NEW)], ["newer"]),
        ([row(1, 5, NEW)], [row(1, 5, OLD)], ["older"]),
        ([row(1, 5)], [row(1, 5, more=',"A":1')], ["changed"]),
        ([row(1, 5)], [row(1, 6)], ["changed"]),
        ([row(1, 5)], [row(2, 5)], ["gone", "missing"]),
    ],
)
def test_each_difference_has_its_name(here: list[Row], there: list[Row], kinds: list[str]) -> None:
    assert [one.kind for one in found(here, there)] == kinds


@pytest.mark.parametrize(
    ("here", "there", "is_same"),
    [
        (r'"\u00fc\/\n"', '"ü/\\u000a"', True),
        (r'"\ud83d\ude00"', '"😀"', True),
        (r'"\u00fc"', '"u\u0308"', False),
        ("1.0", "1.00", True),
        ("1", "1e0", True),
        ("100", "1E2", True),
        ("-0", "0", True),
        ("0.1", "0.10000000000000000000000000000000000000001", False),
        ("9" * 60, "9" * 59 + "8", False),
        ("1e99999999999999999999", "1e99999999999999999998", False),
        ("1e99999999999999999999", "1", False),
        ('{"a":1,"b":[1,2]}', '{ "b": [1, 2.0], "a": 1 }', True),
        ("[1,2]", "[2,1]", False),
        ('{"a":1,"a":2}', '{"a":2}', False),
        ("true", "1", False),
        ("1", '"1"', False),
        ("null", "0", False),
        ('"2024-01-01T00:00:00Z"', '"2024-01-01T00:00:00.000Z"', False),
    ],
)
def test_records_are_the_same_whatever_their_spelling_where_their_values_are(
    here: str, there: str, is_same: bool
) -> None:
    one, other = (row(1, 5, more=f',"A":{value}') for value in (here, there))
    kinds = [] if is_same else ["changed"]
    assert [finding.kind for finding in found([one], [other])] == kinds
    assert [finding.kind for finding in found([other], [one])] == kinds


def test_a_null_is_no_missing_member() -> None:
    (finding,) = found([row(1, 5)], [row(1, 5, more=',"A":null')])
    assert finding.kind == "changed"


def test_a_record_that_moved_to_another_window_is_one_finding() -> None:
    later = Window(start=SECOND.end, end=SECOND.end + 1000 * MS)
    gone = compared(Cut(window=SECOND, here={f"{1:024x}": entry(row(1, 5, OLD))}), [], newer)
    come = compared(Cut(window=later, here={}), [row(1, 1500, NEW)], newer)
    (finding,) = joined([*come, *gone], newer)
    assert (finding.kind, finding.window, finding.here, finding.there) == ("newer", SECOND, OLD, NEW)


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        (b'{"A":1,"B":2}', b'{"A":1,"B":3}', "B"),
        (b'{"A":1}', b'{"A":1,"C":3}', "C"),
        (b'{"A":1,"B":2}', b'{"B": 2.0,"A":3}', "A"),
        (b'{"A":null}', b'{"B":null}', "A, B"),
        (b'{"A":1}', b'{"A":1,"A":1}', "a name that stands there twice"),
        (b"{", b"{}", "one of them is no JSON object"),
        (b"{}", orjson.dumps({str(n): n for n in range(8)}), "0, 1, 2, 3, 4 and 3 more"),
    ],
)
def test_what_has_changed_is_told_by_the_names_of_the_fields(here: bytes, there: bytes, told: str) -> None:
    assert changed_fields(here, there) == told


# --- against a source


async def checked(world: World, **other: Any) -> SourceVerdict:
    sample, seed = other.pop("sample", 1.0), other.pop("seed", 0)
    return await verify_source(
        world.out, world.job(**other), sample=sample, seed=seed, emit=world.hear, clock=HastyClock()
    )


def kinds(verdict: SourceVerdict) -> list[str]:
    return [one.kind for one in verdict.findings]


PLAIN: dict[str, Any] = {"output": {"compression": "none", "shard_bytes": 300_000}}


def edited(out: Path, change: Callable[[Lines], Lines], *, at: int = 1) -> None:
    """Changes one shard behind the manifest's back."""
    path = out / manifest(out)["shards"][at]["path"]
    path.write_bytes(b"".join(line + b"\n" for line in change(list(read_lines(path)))))


def key(line: bytes) -> str:
    return str(orjson.loads(line)["_id"])


def when(line: bytes) -> datetime:
    return datetime.fromisoformat(orjson.loads(line)["StartedDateTimeUtc"])


def test_an_output_that_is_as_the_source_has_no_finding_and_nothing_of_it_is_touched(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        before = {p: p.stat().st_mtime_ns for p in world.out.rglob("*") if p.is_file()}
        asked = {(e["start_us"], e["end_us"], e["limit"]) for e in world.simulator.stats.asked}
        world.simulator.stats.reset()
        verdict = await checked(world, **PLAIN)
        assert (verdict.exit_code, verdict.records, verdict.records_there) == (0, 200, 200)
        assert verdict.order_by == "StartedDateTimeUtc"
        again = {(e["start_us"], e["end_us"], e["limit"]) for e in world.simulator.stats.asked}
        assert not asked & again, "the same question may get the same wrong answer"
        assert verdict.requests <= 3 * verdict.windows + 1 <= 19
        assert {p: p.stat().st_mtime_ns for p in world.out.rglob("*") if p.is_file()} == before

    live(tmp_path, story, records=200)


def test_a_removed_record_is_named_with_its_window(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        lost: Lines = []

        def lose(lines: Lines) -> Lines:
            lost.append(lines.pop(40))
            return lines

        edited(world.out, lose)
        verdict = await checked(world, **PLAIN)
        (finding,) = verdict.findings
        assert (finding.kind, finding.key, verdict.exit_code) == ("missing", key(lost[0]), 4)
        assert finding.window.contains(finding.time)
        assert finding.time == datetime.fromisoformat(orjson.loads(lost[0])["StartedDateTimeUtc"])

    live(tmp_path, story, records=200)


def test_one_changed_byte_is_named_with_its_line_and_field(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        changed: Lines = []

        def change(lines: Lines) -> Lines:
            changed.append(lines[7])
            wrong = with_another_agent(lines[7])
            assert wrong != lines[7]
            return [*lines[:7], wrong, *lines[8:]]

        edited(world.out, change)
        (finding,) = (await checked(world, **PLAIN)).findings
        assert (finding.kind, finding.key) == ("changed", key(changed[0]))
        place = manifest(world.out)["shards"][1]["path"]
        assert finding.detail == f"{place}:8; differs in AgentId"

    live(tmp_path, story, records=200)


def test_a_record_that_the_source_never_had_is_gone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)

        def invent(lines: Lines) -> Lines:
            return [*lines[:5], lines[5].replace(key(lines[5]).encode(), b"f" * 24), *lines[5:]]

        edited(world.out, invent)
        (finding,) = (await checked(world, **PLAIN)).findings
        assert (finding.kind, finding.key, finding.there) == ("gone", "f" * 24, None)

    live(tmp_path, story, records=200)


def test_a_record_that_came_to_the_source_is_missing_or_late_by_when_it_was_written(tmp_path: Path) -> None:
    """Written before the shard was sealed it is a loss; after that it is none."""

    async def story(world: World) -> None:
        await world.run(**PLAIN)
        table = world.simulator.datasets.table("interactions")
        raw = bytes(table.row(table.rows()[100]))
        table.insert(raw.replace(key(raw).encode(), b"e" * 24))
        (finding,) = (await checked(world, **PLAIN)).findings
        assert (finding.kind, finding.key) == ("missing", "e" * 24)
        long_ago = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
        for shard in manifest(world.out)["shards"]:
            os.utime(world.out / shard["path"], (long_ago, long_ago))
        verdict = await checked(world, **PLAIN)
        assert (kinds(verdict), verdict.counts, verdict.exit_code) == (["late"], {"late": 1}, 4)

    live(tmp_path, story, records=200)


def test_a_record_written_again_since_the_harvest_is_newer_and_no_loss(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        world.simulator.set_faults([{"rewrite": 3, "times": 1}])
        verdict = await checked(world, **PLAIN)
        world.simulator.set_faults([])
        verdict = await checked(world, **PLAIN)
        assert verdict.counts == {"newer": len(verdict.findings)}
        assert verdict.findings[0].detail.startswith("dt=2024-01-0")
        assert " in the output, " in verdict.findings[0].detail

    live(tmp_path, story, records=200)


def test_a_lost_shard_is_all_of_its_records(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        shard = manifest(world.out)["shards"][0]
        (world.out / shard["path"]).unlink()
        verdict = await checked(world, **PLAIN)
        assert verdict.counts == {"missing": shard["records"]}

    live(tmp_path, story, records=200)


COMBINED: list[dict[str, object]] = [
    {"order": "ignored"},
    {"page_cap": 7},
    {"status": 503, "retry_after": 0, "share": 0.2},
]


def with_another_agent(line: bytes) -> bytes:
    number = orjson.loads(line)["AgentId"]
    return line.replace(b'"AgentId":%d' % number, b'"AgentId":%d' % (number ^ 1))


@pytest.mark.parametrize(
    ("sample", "faults"),
    [
        (1, [{"page_cap": 7}]),
        (1, [{"ends": "exclusive"}]),
        (1, [{"ends": "seconds"}]),
        (1, [{"order": "ties"}]),
        (1, [{"order": "descending"}]),
        (1, [{"order": "ignored"}]),
        (1, [{"limit_refused": 20}]),
        (1, [{"status": 503, "retry_after": 0, "share": 0.2}]),
        (1, [{"body": "cut_json", "share": 0.1}]),
        (1, [{"window_refused_s": 7200.0}]),
        (1, [{"duplicates": 0.2}]),
        (1, COMBINED),
        (0.5, COMBINED),
    ],
)
def test_an_unruly_source_hides_no_difference_and_makes_none(
    tmp_path: Path, sample: float, faults: list[dict[str, object]]
) -> None:
    """One record is missing, another one is changed; in a sample each is found if its hour is drawn."""

    async def story(world: World) -> None:
        await world.run(**PLAIN)
        away: Lines = []

        def lose_and_change(lines: Lines) -> Lines:
            away.extend((lines[0], lines[60]))
            return [*lines[1:60], with_another_agent(lines[60]), *lines[61:]]

        edited(world.out, lose_and_change)
        asked = set(sampled(list(cells([SPAN], SAMPLED_CELL)), sample, seed=4))
        drawn = [any(cell.contains(when(line)) for cell in asked) or sample == 1 for line in away]
        world.simulator.set_faults(faults)
        verdict = await checked(world, sample=sample, seed=4, transport={"max_outage_s": 60.0}, **PLAIN)
        named = {(one.kind, one.key) for one in verdict.findings}
        expected = zip(("missing", "changed"), map(key, away), strict=True)
        assert named == {one for one, is_drawn in zip(expected, drawn, strict=True) if is_drawn}, verdict
        assert not verdict.unasked

    live(tmp_path, story, records=200)


def test_a_sample_asks_its_share_and_finds_what_lies_in_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        world.simulator.stats.reset()
        verdict = await checked(world, sample=0.2, seed=5, **PLAIN)
        assert (verdict.exit_code, verdict.windows) == (0, 10)  # of 49 cells of an hour
        assert verdict.requests < 35
        for shard in range(len(manifest(world.out)["shards"])):
            edited(world.out, lambda lines: [], at=shard)
        again = await checked(world, sample=0.2, seed=5, **PLAIN)
        assert again.counts == {"missing": verdict.records}
        assert (await checked(world, sample=0.2, seed=6, **PLAIN)).counts != again.counts

    live(tmp_path, story, records=200)


def test_an_order_that_the_source_refuses_is_not_asked_for(tmp_path: Path) -> None:
    """There is no date by that name to order by, but the records are compared all the same."""

    async def story(world: World) -> None:
        await world.run(**PLAIN)
        refusing = world.simulator.service.respond

        def respond(method: str, path: str, raw: bytes, **more: Any) -> Any:
            if orjson.loads(raw).get("OrderBy") != "_id":
                raw = b"[]"  # a 400
            return refusing(method, path, raw, **more)

        world.simulator.service.respond = respond  # type: ignore[method-assign]
        verdict = await checked(world, **PLAIN)
        assert (verdict.exit_code, verdict.order_by, verdict.records) == (0, None, 200)

    live(tmp_path, story, records=200)


def failing(day: int) -> dict[str, object]:
    return {"status": 500, "start": f"2024-01-0{day}T09:00:00Z", "end": f"2024-01-0{day}T10:00:00Z"}


def test_gaps_are_not_asked_and_windows_that_fail_are_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 24), **PLAIN)
        world.simulator.set_faults([failing(2)])
        await world.run(**PLAIN)
        assert manifest(world.out)["gaps"]
        verdict = await checked(world, **PLAIN)
        assert verdict.gaps_s >= 3600
        world.simulator.set_faults([])
        verdict = await checked(world, **PLAIN)
        assert (verdict.exit_code, verdict.counts) == (0, {})
        world.simulator.set_faults([failing(1)])
        verdict = await checked(world, **PLAIN)
        assert (verdict.exit_code, verdict.counts) == (3, {})
        assert "500" in verdict.unasked[0].error

    live(tmp_path, story, records=200)


def test_a_record_that_the_source_sends_damaged_is_not_compared_and_not_called_gone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        world.simulator.set_faults([{"record": "no_key", "one_in": 100}])
        verdict = await checked(world, **PLAIN)
        assert (verdict.exit_code, verdict.counts) == (3, {})
        assert "quarantined" in verdict.unasked[0].error

    live(tmp_path, story, records=200)


def test_another_job_a_missing_manifest_and_a_source_that_refuses_are_errors(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(**PLAIN)
        with pytest.raises(OtherJob, match="shard_bytes"):
            await checked(world)
        world.simulator.set_faults([{"forbid": True}])
        with pytest.raises(Refused):
            await checked(world, **PLAIN)
        world.simulator.set_faults([{"body": "html"}])
        with pytest.raises(ContractBroken, match="never one good page"):
            await checked(world, **PLAIN)
        (world.out / "_manifest.json").unlink()
        with pytest.raises(VerificationFailed, match="no manifest"):
            await checked(world, **PLAIN)

    live(tmp_path, story, records=20)


def test_sums_over_periods_are_compared_period_by_period(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        job: dict[str, Any] = {"dialect": "agent-workstate-rollup", "resolution": Resolution.HOUR, **PLAIN}
        await world.run(span=hours(8, 14), **job)
        verdict = await checked(world, span=hours(8, 14), **job)
        assert (verdict.exit_code, verdict.windows) == (0, 6)
        edited(world.out, lambda lines: lines[:-1], at=0)
        assert (await checked(world, span=hours(8, 14), **job)).counts == {"missing": 1}

    live(tmp_path, story, records=200)


# --- the command


def test_the_command_compares_files_and_source_and_ends_with_the_worse_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    with running(Settings(records=100, end=START + 2 * DAY)) as simulator:
        Path("job.toml").write_text(
            f'[source]\nbase_url = "{simulator.url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-03\n'
            '[fetch]\nmax_attempts = 1\n[output]\ncompression = "none"\n'
        )
        assert main(["run", "job.toml", "--quiet"]) == 0
        capsys.readouterr()

        def verified(*words: str) -> tuple[int, str]:
            return main(["verify", "out", "--source", "job.toml", *words]), capsys.readouterr().out

        code, out = verified()
        assert code == 0
        assert "100 records" in out
        assert "no difference" in out
        code, out = verified("--sample", "0.1", "--seed", "3", "--json")
        told = orjson.loads(out)["source"]
        assert (code, told["seed"], told["sample"], told["counts"]) == (0, 3, 0.1, {})
        edited(Path("out"), lambda lines: lines[1:], at=0)
        code, out = verified()
        assert code == 4
        assert "missing" in out
        assert "sha256" in out
        code, out = verified("--json")
        (finding,) = orjson.loads(out)["source"]["findings"]
        assert (code, finding["kind"]) == (4, "missing")
        shutil.rmtree("out")
        main(["run", "job.toml", "--quiet"])
        simulator.set_faults([failing(1)])
        capsys.readouterr()
        code, out = verified()
        assert code == 3
        assert "not compared" in out


def test_the_command_takes_the_settings_that_the_run_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    Path("job.toml").write_text("[span]\nstart = 2024-01-01\nend = 2024-01-02\n")
    with running(Settings(records=20, end=START + DAY)) as simulator:
        there = ["--set", f"source.base_url={simulator.url}"]
        assert main(["run", "job.toml", "--quiet", *there]) == 0
        assert main(["verify", "out", "--source", "job.toml", *there]) == 0
        capsys.readouterr()
        other = [*there, "--set", "source.fields=['Queue']"]
        assert main(["verify", "out", "--source", "job.toml", *other]) == 8
        assert "another job" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sample", "0.5"], "--sample: needs --source"),
        (["--set", "span.resolution=Day"], "--set: needs --source"),
        (["--seed", "5"], "--seed: needs --sample"),
        (["--source", "job.toml", "--sample", "0"], "more than 0"),
        (["--source", "job.toml", "--sample", "1.5"], "more than 0"),
        (["--source", "job.toml", "--sample", "x"], "more than 0"),
        (["--source", "none.toml"], "none.toml: no such file"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_read(
    tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path), *words]) == 2
    assert told in capsys.readouterr().err
