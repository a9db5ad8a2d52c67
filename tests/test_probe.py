"""probe: names what a source does, whichever way it does it, and says what it could not measure."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.cli import main
from harvester.contract import Fact, decode
from harvester.errors import ContractBroken, Refused
from harvester.probe import MOST_REQUESTS, TITLES, probe
from harvester.testing import Settings, running
from harvester.testing.rows import written_at
from harvester.testing.table import time_of
from harvester.windows import Span
from tests.harvesting import DAY, START, HastyClock, World, live

# --- against a source


async def probed(world: World, **other: Any) -> dict[str, Fact]:
    most = other.pop("most_requests", MOST_REQUESTS)
    clock = other.pop("clock", HastyClock())
    found = await probe(world.job(**other), emit=world.hear, clock=clock, most_requests=most)
    assert [fact.name for fact in found.facts] == list(TITLES), "each is told once, in the same order"
    assert found.requests <= most
    return {fact.name: fact for fact in found.facts}


def told(
    tmp_path: Path,
    *faults: dict[str, Any],
    records: int = 400,
    world: dict[str, Any] | None = None,
    **job: Any,
) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}

    async def story(world: World) -> None:
        world.simulator.set_faults(faults)
        facts.update(await probed(world, **job))

    live(tmp_path, story, records=records, **(world or {}))
    return facts


PLAIN = {
    "access": "granted",
    "limit": "honoured",
    "largest_page": 400,
    "ends": "inclusive",
    "sub_second": "compared",
    "order": "ascending",
    "order_by_date": "ascending",
    "ties": "stable",
    "offset": "works",
    "past_end": "empty",
    "seek": "works",
    "compression": "none",
}


def test_a_plain_server_is_told_as_what_it_is_with_a_few_dozen_requests_that_change_nothing(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        facts = await probed(world)
        assert {name: facts[name].value for name in PLAIN} == PLAIN
        assert world.requests() <= 40
        assert abs(facts["clock_skew"].value) < 2
        assert facts["lateness"].value["most_s"] > 0
        assert facts["rate"].told == "not announced in any answer"
        assert facts["relative_days"].told == "not measured: there are no records of yesterday"
        assert world.simulator.stats.max_in_flight == 1
        assert not world.out.exists()

    live(tmp_path, story, records=400, beyond=0)


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ({"page_cap": 70}, {"limit": "cut", "largest_page": 70}),
        ({"limit_refused": 120}, {"limit": "refused", "largest_page": 100}),
        ({"more_than_limit": 2}, {"limit": "ignored"}),
        ({"limit_ignored": 130}, {"limit": "ignored", "largest_page": 130}),
        ({"ends": "exclusive"}, {"ends": "exclusive"}),
        ({"ends": "open"}, {"ends": "open"}),
        ({"ends": "seconds"}, {"sub_second": "cut"}),
        ({"order": "ignored"}, {"order": "not kept", "order_by_date": "not kept"}),
        ({"order": "descending"}, {"order": "descending", "order_by_date": "descending"}),
        ({"order": "shuffled"}, {"order": "not kept", "order_by_date": "not kept"}),
        ({"order": "ties"}, {"order": "not kept", "ties": "change"}),
        ({"offset_ignored": True}, {"offset": "ignored", "past_end": "repeats"}),
        ({"offset_refused": 1}, {"offset": "refused", "past_end": "refused", "deep_offset": "refused"}),
        ({"offset_refused": 5000}, {"deep_offset": "refused"}),
        ({"filter": "ignored"}, {"seek": "ignored"}),
        ({"filter": "refused"}, {"seek": "refused"}),
        ({"window_refused_s": 90_000.0}, {}),
        ({"status": 500, "every": 7}, {}),
        ({"body": "cut_json", "every": 5}, {}),
    ],
    ids=lambda given: "-".join(map(str, next(iter(given.items()), ("plain",)))),
)
def test_each_behaviour_is_named_and_no_other(
    tmp_path: Path, fault: dict[str, Any], changed: dict[str, Any]
) -> None:
    facts = told(tmp_path, fault)
    expected = PLAIN | changed
    names = [name for name in expected if name != "largest_page" or name in changed]
    if "offset" in changed or "order" in changed or "window_refused_s" in fault:
        names = [name for name in names if name in changed]
    assert {name: facts[name].value for name in names} == {name: expected[name] for name in names}


def test_a_dense_place_is_found_in_a_sparse_year(tmp_path: Path) -> None:
    """All the records lie in two days of a year; the search goes there by itself."""
    span = Span(start=START - 200 * DAY, end=START + 165 * DAY)
    facts = told(tmp_path, span=span, world={"beyond": 0})
    assert {name: facts[name].value for name in PLAIN} == PLAIN


def test_rate_headers_skew_and_compression_are_told(tmp_path: Path) -> None:
    facts = told(
        tmp_path,
        {"rate": 500.0, "burst": 50.0, "headers": "seconds"},
        {"skew_s": -150.0},
        world={"gzip": True},
    )
    assert "x-ratelimit-limit: 50" in facts["rate"].told
    assert facts["clock_skew"].told == "2.5 minutes behind this machine's"
    assert facts["compression"].value == "gzip"


@pytest.mark.parametrize(
    ("faults", "fact", "words"),
    [
        ([{"rate": 500.0, "burst": 50.0, "headers": "epoch"}], "rate", "x-ratelimit-reset: 1"),
        ([{"rate": 500.0, "burst": 50.0, "headers": "draft"}], "rate", 'ratelimit: "default"'),
        ([{"status": 429, "retry_after": 0, "times": 1, "after": 2}], "rate", "1 request was told to wait"),
        (
            [{"status": 429, "retry_after": 0, "times": 1, "after": 2, "headers": "seconds"}],
            "rate",
            "announced: x-ratelimit-limit: 1, x-ratelimit-remaining: 0",
        ),
        (
            [{"status": 400, "times": 1, "after": 2, "headers": "draft"}],
            "rate",
            'ratelimit: "default";r=0;t=1',
        ),
        ([{"skew_s": 300.0}], "clock_skew", "5.0 minutes ahead of this machine's"),
        ([{"window_refused_s": 90_000.0}], "access", "granted; the whole span is refused at once"),
        ([{"rows_refused": 390, "code": 400}], "access", "granted; the whole span is refused at once"),
    ],
    ids=["epoch", "draft", "429", "spent", "400", "ahead", "too long", "too full"],
)
def test_what_answers_show_by_the_way_is_told(
    tmp_path: Path, faults: list[dict[str, Any]], fact: str, words: str
) -> None:
    assert words in told(tmp_path, *faults)[fact].told


def test_an_answer_that_fails_has_told_nobody_to_wait(tmp_path: Path) -> None:
    facts = told(tmp_path, {"status": 500, "times": 1, "after": 2})
    assert facts["rate"].told == "not announced in any answer"


@pytest.mark.parametrize("late_h", [0, 5])
def test_how_late_records_are_written_is_told(tmp_path: Path, late_h: int) -> None:
    facts: dict[str, Fact] = {}

    async def story(world: World) -> None:
        table = world.simulator.datasets.table("interactions")
        for row in list(table.rows()):
            raw = bytes(table.row(row))
            started = time_of(raw, "StartedDateTimeUtc")
            assert started is not None
            table.rewrite(row, written_at(raw, started + late_h * 3_600_000))
        facts.update(await probed(world))

    live(tmp_path, story, records=200)
    late = facts["lateness"]
    assert (late.value["after_period"], late.value["most_s"] > 4 * 3600) == (
        1.0 if late_h else 0.0,
        late_h > 0,
    )
    assert ("none of" in late.told) == (late_h == 0)


class AtNoon(HastyClock):
    """It is noon of 3 January 2024, New York time."""

    def now(self) -> datetime:
        return datetime(2024, 1, 2, 17, tzinfo=UTC)


@pytest.mark.parametrize(("zone", "value"), [("America/New_York", "agree"), ("UTC", "agree")])
def test_days_that_agree_with_the_zone_are_told(tmp_path: Path, zone: str, value: str) -> None:
    world = {"now": AtNoon().now()}
    facts = told(tmp_path, world=world, time_zone=zone, clock=AtNoon())
    assert facts["relative_days"].value == value, facts["relative_days"]


def test_days_of_utc_under_another_zone_are_told(tmp_path: Path) -> None:
    facts: dict[str, Fact] = {}

    async def story(world: World) -> None:
        answering = world.simulator.service.respond

        def respond(method: str, path: str, raw: bytes, **more: Any) -> Any:
            body = orjson.loads(raw)
            body.pop("RelativeTimezone", None)  # as a server that does not know it
            return answering(method, path, orjson.dumps(body), **more)

        world.simulator.service.respond = respond  # type: ignore[method-assign]
        facts.update(await probed(world, time_zone="Asia/Tokyo", clock=AtNoon()))

    live(tmp_path, story, records=400, now=AtNoon().now())
    assert facts["relative_days"].value == "UTC", facts["relative_days"]


@pytest.mark.parametrize("records", [0, 1, 3])
def test_what_the_data_does_not_allow_is_not_measured_and_why(tmp_path: Path, records: int) -> None:
    span = Span(start=START + timedelta(minutes=1), end=START + 2 * DAY - timedelta(minutes=1))
    facts = told(tmp_path, records=records, world={"beyond": 0}, span=span)
    for name in ("ties", "seek", "offset", "order"):
        assert not facts[name].measured
        assert facts[name].value is None
        assert facts[name].told.startswith("not measured: ")
    assert facts["access"].measured


def test_no_more_is_asked_than_the_bound_and_the_rest_is_told_so(tmp_path: Path) -> None:
    facts = told(tmp_path, most_requests=9)
    assert facts["seek"].told == "not measured: the bound of requests was reached"
    assert facts["limit"].measured


def test_sums_without_key_are_told_as_that(tmp_path: Path) -> None:
    facts = told(tmp_path, dialect="agent-workstate-rollup")
    assert facts["access"].measured
    assert facts["order"].told == "not measured: the source gives sums without key and time"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"forbid": True}, Refused),
        ({"body": "html"}, ContractBroken),
        ({"limit_refused": 0}, ContractBroken),
        ({"record": "no_key", "one_in": 1}, ContractBroken),
    ],
)
def test_a_source_that_refuses_or_breaks_its_contract_is_an_error(
    tmp_path: Path, fault: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        told(tmp_path, fault, records=20)


# --- the command


def test_the_command_prints_a_table_and_writes_the_contract_privately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    with running(Settings(records=200, end=START + 2 * DAY)) as simulator:
        Path("job.toml").write_text(
            f'[source]\nbase_url = "{simulator.url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-03\n'
        )
        assert main(["probe", "job.toml"]) == 0
        out = capsys.readouterr().out
        assert all(title in out for title in TITLES.values())
        path = Path("out/_harvest/contract.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert main(["probe", "job.toml", "--json"]) == 0
        printed = orjson.loads(capsys.readouterr().out)
        assert printed == orjson.loads(path.read_bytes())
        assert decode(path.read_bytes()).value("ends") == "inclusive"
        assert main(["run", "job.toml", "--quiet"]) == 0, "an output that holds a contract alone is not begun"
        simulator.set_token("another")
        assert main(["probe", "job.toml"]) == 5
        simulator.set_token(Settings().token)
        simulator.set_faults([{"body": "html"}])
        assert main(["probe", "job.toml", "--set", "fetch.max_attempts=1"]) == 6
        assert main(["probe", "none.toml"]) == 2
        assert decode(path.read_bytes()).value("ends") == "inclusive", "a failed probe leaves what was known"
