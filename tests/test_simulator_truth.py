import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harvester.testing import Settings, Simulator, compare, compare_output, fetch_truth, harvested, running
from harvester.testing.command import describe_faults
from harvester.testing.compare import main
from harvester.testing.faults import KINDS
from harvester.testing.rows import written_at
from tests.raw_client import DAY, DETAILS, EVENTS, MESSAGES, ROLLUP, ask, call
from tests.zstd import zstd

SPAN = {"start": "2024-01-03T00:00:00Z", "end": "2024-01-04T00:00:00Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with running(Settings(records=2000)) as simulator:
        yield simulator


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    """For a test that moves records: they stay moved."""
    with running(Settings(records=2000)) as simulator:
        yield simulator


@pytest.fixture
def simulator(server: Simulator) -> Iterator[Simulator]:
    call(server, "POST", "/_simulator/reset")
    yield server
    server.set_faults([])


class Page(msgspec.Struct):
    data: list[msgspec.Raw]


def stored(simulator: Simulator, **body: Any) -> list[bytes]:
    """A day's records as a harvest stores them, from a server without faults."""
    raw = json.dumps({**DAY, "Limit": 5000, **body}).encode()
    answer = simulator.service.respond(
        "POST", DETAILS, raw, struck={}, number=1, now=simulator.now(), entry={}
    )
    return [bytes(record) for record in msgspec.json.decode(b"".join(answer.parts), type=Page).data]


def test_a_perfect_harvest_differs_in_nothing(simulator: Simulator) -> None:
    records = stored(simulator)
    difference = compare(fetch_truth(simulator.url, **SPAN), reversed(records))
    assert not difference
    assert (difference.records, difference.expected) == (len(records), len(records))
    assert len(records) > 50


def test_every_kind_of_wrong_is_named_with_its_key(simulator: Simulator) -> None:
    records = stored(simulator)
    keys = [json.loads(record)["_id"] for record in records]
    older = written_at(records[3], 0)
    harvest = [
        *records[1:3],
        older,
        records[4].replace(b'"TenantId":2', b'"TenantId":3'),
        *records[5:],
        records[7],
        b'{"_id":"no such"}',
        b"not json",
    ]
    difference = compare(fetch_truth(simulator.url, **SPAN), harvest)
    assert difference
    assert difference.missing == [keys[0]]
    assert difference.stale == [keys[3]]
    assert difference.changed == [keys[4]]
    assert difference.doubled == [keys[7]]
    assert difference.foreign == ["no such", ""]
    assert json.loads(repr(difference).removeprefix("Difference(").removesuffix(")"))["exact"] is False


def test_records_on_the_ends_count_as_half_open(simulator: Simulator) -> None:
    times = [line["time"] for line in fetch_truth(simulator.url, **SPAN)]
    assert min(times) == 1704240000000
    assert max(times) == 1704326400000 - 1
    whole = list(fetch_truth(simulator.url))
    assert len(whole) == simulator.settings.records < len(simulator.datasets.table("interactions"))


def test_truth_is_narrowed_as_the_harvest_was(simulator: Simulator) -> None:
    narrowed = {
        "Fields": ["_id", "RecordWrittenAtUtc", "AgentId"],
        "Queues": [101, 102],
        "Filter": {"AgentId": {"$gt": 1}},
    }
    records = stored(simulator, **narrowed)
    asked = {
        "fields": "_id,RecordWrittenAtUtc,AgentId",
        "queues": "101,102",
        "filter": '{"AgentId":{"$gt":1}}',
    }
    assert 3 < len(records) < 100
    assert not compare(fetch_truth(simulator.url, **SPAN, **asked), records)
    assert compare(fetch_truth(simulator.url, **SPAN), records).missing
    by_writing = stored(simulator, DateFilterField="RecordWrittenAtUtc")
    assert not compare(fetch_truth(simulator.url, **SPAN, date_field="RecordWrittenAtUtc"), by_writing)


@pytest.mark.parametrize(("path", "dataset"), [(MESSAGES, "messages"), (EVENTS, "agent-workstate-events")])
def test_the_other_details_have_their_truth(simulator: Simulator, path: str, dataset: str) -> None:
    records = [json.dumps(record).encode() for record in ask(simulator, path).records]
    difference = compare(fetch_truth(simulator.url, dataset=dataset, **SPAN), records)
    assert len(records) > 10
    assert len(difference.changed) == len(records), "written anew by Python's json: other bytes"
    assert difference.missing == difference.foreign == []


def test_rollup_rows_are_compared_by_content_within_their_window(simulator: Simulator) -> None:
    records = []
    edges = [f"2024-01-03T{hour:02}:00:00Z" for hour in range(24)] + [SPAN["end"]]
    for start, end in pairwise(edges):
        for row in ask(simulator, ROLLUP, startDateTime=start, endDateTime=end, resolution=1).records:
            records.append(json.dumps({**row, "_window_start": start, "_window_end": end}).encode())
    truth = list(fetch_truth(simulator.url, dataset="rollup", resolution="Hour", **SPAN))
    assert len(records) > 20
    assert not compare(truth, records, "rollup")
    assert compare(truth, records[1:], "rollup").missing
    assert compare(truth, [records[0].replace(b'"events": ', b'"events": 1'), *records[1:]], "rollup").changed


def test_what_moved_while_the_server_ran_may_be_held_in_any_version_but_no_other(
    fresh: Simulator,
) -> None:
    before = stored(fresh)
    fresh.set_faults([{"delete": 1}, {"rewrite": 1}, {"insert": 1}])
    ask(fresh, Limit=10, Offset=20)
    after = stored(fresh)
    assert len(set(before) ^ set(after)) == 4
    for harvest in (before, after):
        assert not compare(fetch_truth(fresh.url, **SPAN), harvest)
    assert not compare(fetch_truth(fresh.url, **SPAN, strict="1"), after)
    strictly = compare(fetch_truth(fresh.url, **SPAN, strict="1"), before)
    assert [len(k) for k in (strictly.missing, strictly.stale, strictly.foreign)] == [1, 1, 1]
    (new,) = [
        a for a in after if a not in before and json.loads(a)["_id"] in {json.loads(b)["_id"] for b in before}
    ]
    spoilt = [a.replace(b'"TenantId":2', b'"TenantId":3') if a == new else a for a in after]
    assert compare(fetch_truth(fresh.url, **SPAN), spoilt)


def test_damaged_records_may_be_missing_or_as_served_but_not_otherwise(simulator: Simulator) -> None:
    simulator.set_faults([{"record": "bigint", "one_in": 20}])
    good = stored(simulator)
    marked = {line["key"] for line in fetch_truth(simulator.url, **SPAN) if "damaged" in line}
    assert 0 < len(marked) < 20
    without = [record for record in good if json.loads(record)["_id"] not in marked]
    assert not compare(fetch_truth(simulator.url, **SPAN), without)
    spoilt = [r.replace(b'"TenantId":2', b'"TenantId":3') if r not in without else r for r in good]
    assert len(compare(fetch_truth(simulator.url, **SPAN), spoilt).changed) == len(marked)


@pytest.fixture
def output(simulator: Simulator, tmp_path: Path) -> Path:
    """An output folder with a shard of each compression, and a file that the manifest does not know."""
    records = [record + b"\n" for record in stored(simulator)]
    shards = {
        "a.jsonl": b"".join(records[:20]),
        "b.jsonl.gz": gzip.compress(b"".join(records[20:40])),
        "c.jsonl.zst": zstd.compress(b"".join(records[40:])),
    }
    (tmp_path / "dt=1").mkdir()
    for name, content in {**shards, "stray.jsonl": records[0]}.items():
        (tmp_path / "dt=1" / name).write_bytes(content)
    manifest = {"shards": [{"path": f"dt=1/{name}"} for name in shards]}
    (tmp_path / "_manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_an_output_is_read_as_its_manifest_lists_it(simulator: Simulator, output: Path) -> None:
    assert list(harvested(output)) == stored(simulator)
    assert not compare_output(output, simulator.url, **SPAN)


def test_the_comparison_as_a_command(
    simulator: Simulator, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(output), simulator.url, "--start", SPAN["start"], "--end", SPAN["end"]]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["exact"] is True
    (output / "dt=1/a.jsonl").write_bytes(b"")
    assert main(asked) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == 20


def test_parquet_cannot_be_compared_byte_by_byte(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_text('{"shards": [{"path": "dt=1/a.parquet"}]}')
    with pytest.raises(ValueError, match="byte by byte"):
        list(harvested(tmp_path))


def test_control_needs_no_token_and_counts_nothing(simulator: Simulator) -> None:
    ask(simulator, Limit=7)
    ask(simulator, Limit=7, headers={"x-api-key": "wrong"})
    stats = json.loads(call(simulator, "GET", "/_simulator/stats").body)
    assert stats["by_status"] == {"200": 1, "401": 1}
    assert (stats["requests"], stats["rows"], stats["windows"], stats["in_flight"]) == (2, 7, 1, 0)
    log = [json.loads(line) for line in call(simulator, "GET", "/_simulator/requests").body.splitlines()]
    assert [(entry["number"], entry["limit"], entry["status"]) for entry in log] == [(1, 7, 200), (2, 7, 401)]
    assert call(simulator, "POST", "/_simulator/reset").status == 200
    assert json.loads(call(simulator, "GET", "/_simulator/stats").body)["requests"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_simulator/faults", [{"page_cap": 5}], 200),
        ("POST", "/_simulator/faults", {"faults": []}, 200),
        ("POST", "/_simulator/faults", [{"page_capp": 5}], 400),
        ("POST", "/_simulator/token", {}, 400),
        ("GET", "/_simulator/truth?dataset=nothing", None, 400),
        ("GET", "/_simulator/truth?start=yesterday", None, 400),
        ("GET", "/_simulator/nothing", None, 404),
    ],
)
def test_control_says_what_is_wrong(
    simulator: Simulator, method: str, path: str, body: Any, status: int
) -> None:
    reply = call(simulator, method, path, body)
    assert reply.status == status
    if status != 200:
        assert json.loads(reply.body)["resultCodeName"]


def test_the_command_prints_one_line_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text("[[fault]]\npage_cap = 5\n")
    command = (
        "import argparse; from harvester.testing import command\n"
        "parser = argparse.ArgumentParser(); command.add_arguments(parser)\n"
        "raise SystemExit(command.run(parser.parse_args()))\n"
    )
    arguments = ["--records", "50", "--end", "2024-01-02", "--token", "t", "--faults", str(faults)]
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", command, *arguments, "--fault", "latency_ms=1"],
        stdout=subprocess.PIPE,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        hello = json.loads(process.stdout.readline())
        assert set(hello) == {"url", "token", "records", "start", "end"}
        assert (hello["token"], hello["records"]) == ("t", 50)
        assert len(list(fetch_truth(hello["url"]))) == 50
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stdout.read() == b""


def test_every_fault_is_described() -> None:
    text = describe_faults()
    assert all(f"{name}=" in text for name in KINDS)


def test_a_live_server_has_what_was_written_by_its_clock() -> None:
    evening = datetime(2024, 1, 3, 20, tzinfo=UTC)
    with running(Settings(records=2000, live=True, now=evening)) as simulator:
        first = stored(simulator)
        written = [json.loads(record)["RecordWrittenAtUtc"] for record in first]
        assert max(written) <= "2024-01-03T20:00:00.000Z"
        assert not compare(fetch_truth(simulator.url, **SPAN), first)
        assert not any("moved" in line for line in fetch_truth(simulator.url, **SPAN))
        assert call(simulator, "POST", "/_simulator/clock", {"now": "2024-02-01T00:00:00Z"}).status == 200
        last = stored(simulator)
        assert len(last) > len(first) > 100
        assert not compare(fetch_truth(simulator.url, **SPAN), first), "what came later moved meanwhile"
        strictly = compare(fetch_truth(simulator.url, **SPAN, strict="1"), first)
        assert len(strictly.missing) == len(last) - len(first)
        assert len(strictly.stale) > 1
        assert not strictly.foreign
    with running(Settings(records=2000)) as simulator:
        assert sorted(stored(simulator)) == sorted(last), "in the end all is as on a server without a clock"
