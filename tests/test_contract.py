"""A contract: what a run begins with, and what it tells when the source does something else."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from harvester import events
from harvester.contract import FILE, Change, Contract, Fact, Recheck
from harvester.dialects import Ask, Page, Row
from harvester.probe import probe, write
from harvester.windows import Resolution
from tests.harvesting import START, HastyClock, World, live

HOUR = timedelta(hours=1)
MS = timedelta(milliseconds=1)


def contract(**facts: Any) -> Contract:
    told = tuple(Fact(name=name, value=value, told=f"{name} is {value}") for name, value in facts.items())
    return Contract(source="https://x", dialect="interactions", measured_at=START, requests=9, facts=told)


def ask(limit: int = 3) -> Ask:
    return Ask(start=START, end=START + HOUR, limit=limit, offset=0, order_by=None)


def page(*at_ms: int) -> Page:
    rows: list[Row] = [(START + at * MS, f"{number:03}", "", b"{}") for number, at in enumerate(at_ms)]
    return Page(rows=rows)


def facts(changes: Sequence[Change]) -> list[str]:
    return [change.fact for change in changes]


@pytest.mark.parametrize(
    ("known", "came", "by", "changed"),
    [
        ({"limit": "honoured"}, page(1, 2, 3), "key", []),
        ({"limit": "honoured"}, page(1, 2, 3, 4), "key", ["limit"]),
        ({"limit": "ignored"}, page(1, 2, 3, 4), "key", []),
        ({}, page(1, 2, 3, 4), "key", []),
        ({"ends": "exclusive"}, page(1, 3_600_000), "key", ["ends"]),
        ({"ends": "inclusive"}, page(1, 3_600_000), "key", []),
        ({"sub_second": "compared"}, page(1, 3_600_001), "key", ["sub_second"]),
        ({"sub_second": "cut"}, page(1, 3_600_001), "key", []),
        ({"order_by_date": "ascending"}, page(2, 1), "date", ["order_by_date"]),
        ({"order_by_date": "ascending"}, page(2, 1), "key", []),
        ({"order_by_date": "descending"}, page(2, 1), "date", []),
        ({"order": "ascending"}, page(2, 1), "key", []),
        ({"order": "ascending"}, Page(rows=page(2, 1).rows[::-1]), "key", ["order"]),
    ],
)
def test_a_page_that_contradicts_is_told_once(
    known: dict[str, Any], came: Page, by: Literal["key", "date"], changed: list[str]
) -> None:
    recheck = Recheck(contract(**known), limit=3)
    assert facts(recheck.page(ask(), came, by=by)) == changed
    assert recheck.page(ask(), came, by=by) == []


KIB = 1024


@pytest.mark.parametrize(
    ("known", "received", "decoded", "changed"),
    [
        ("none", 20 * KIB, 20 * KIB, []),
        ("none", 5 * KIB, 20 * KIB, ["compression"]),
        ("gzip", 5 * KIB, 20 * KIB, []),
        ("gzip", 20 * KIB, 20 * KIB, ["compression"]),
        ("gzip", 2 * KIB, 2 * KIB, []),  # so little goes as it is
        (None, 20 * KIB, 20 * KIB, []),
    ],
)
def test_answers_that_are_packed_otherwise_are_told_once(
    known: str | None, received: int, decoded: int, changed: list[str]
) -> None:
    recheck = Recheck(contract(**({"compression": known} if known else {})), limit=3)
    came = replace(page(1), received_bytes=received, decoded_bytes=decoded)
    assert facts(recheck.page(ask(), came, by=None)) == changed
    assert recheck.page(ask(), came, by=None) == []


@pytest.mark.parametrize(
    ("most_s", "after", "version", "changed"),
    [
        (3600.0, timedelta(hours=33), None, []),
        (3600.0, timedelta(hours=35), None, ["lateness"]),
        (0.0, timedelta(hours=25), None, ["lateness"]),
        (7 * 86400.0, timedelta(days=70), None, []),
        (None, timedelta(days=90), None, []),
        (0.0, timedelta(0), "17", []),
        (0.0, timedelta(0), "2999-01-01T00:00:00", []),  # in whatever zone
        (0.0, timedelta(0), "", []),
    ],
)
def test_records_that_are_written_much_later_than_any_that_was_measured_are_told_once(
    most_s: float | None, after: timedelta, version: str | None, changed: list[str]
) -> None:
    facts_known = {} if most_s is None else {"lateness": {"most_s": most_s, "records": 9}}
    recheck = Recheck(contract(**facts_known), limit=3)
    written = (START + MS + after).isoformat() if version is None else version
    came = Page(rows=[(START + MS, "1", written, b"{}"), (START + MS, "2", "", b"{}")])
    assert facts(recheck.page(ask(), came, by=None)) == changed
    assert recheck.page(ask(), came, by=None) == []


def test_a_filter_by_key_that_has_changed_is_told_once() -> None:
    recheck = Recheck(contract(seek="works"), limit=3)
    seen: dict[str, Any] = {"limit": 3, "caps": (), "offset_ignored": False}
    assert recheck.served(**seen) == []
    (change,) = recheck.served(**seen, seek="it is refused")
    assert (change.fact, change.seen) == ("seek", "it is refused")
    assert recheck.served(**seen, seek="it is refused") == []


def test_a_source_that_packs_its_answers_now_is_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        known = await probed(world)
        assert known.value("compression") == "none"
        packed = tuple(
            replace(fact, value="gzip") if fact.name == "compression" else fact for fact in known.facts
        )
        write(replace(known, facts=packed), world.out)
        assert (await world.run()).exit_code == 0
        assert [change.fact for change in changes(world)] == ["compression"]

    live(tmp_path, story, records=300)


@pytest.mark.parametrize(
    ("known", "limit", "caps", "ignored", "changed"),
    [
        ({"limit": "honoured", "offset": "works"}, 3, [3], False, []),
        ({"limit": "honoured"}, 3, [2], False, ["limit"]),
        ({"limit": "honoured"}, 1, [], False, ["limit"]),
        ({"limit": "ignored"}, 3, [2], False, []),
        ({"offset": "works"}, 3, [], True, ["offset"]),
        ({"offset": "ignored"}, 3, [], True, []),
    ],
)
def test_what_all_readers_have_seen_is_told_once(
    known: dict[str, Any], limit: int, caps: list[int], ignored: bool, changed: list[str]
) -> None:
    recheck = Recheck(contract(**known), limit=3)
    assert facts(recheck.served(limit=limit, caps=caps, offset_ignored=ignored)) == changed
    assert recheck.served(limit=limit, caps=caps, offset_ignored=ignored) == []


def test_only_a_cut_or_a_refusal_bounds_the_page() -> None:
    """Where the probe found no more records than that, the page may be larger."""
    assert contract(limit="honoured", largest_page=30).largest_page is None
    assert contract(limit="cut", largest_page=30).largest_page == 30


@pytest.mark.parametrize("size", [0, -1, True, "30", {"a": 1}, 2.5])
def test_a_size_that_no_page_can_have_bounds_none(size: object) -> None:
    assert contract(limit="cut", largest_page=size).largest_page is None


def test_an_order_that_is_no_word_is_none_that_was_measured() -> None:
    assert contract(order={"by": "key"}, order_by_date=["descending"]).keeps_order is None
    assert contract(order={"by": "key"}, order_by_date="descending").keeps_order is False


# --- in a run


def changes(world: World) -> list[events.ContractChanged]:
    return [event for event in world.heard if isinstance(event, events.ContractChanged)]


async def probed(world: World) -> Contract:
    found = await probe(world.job(), clock=HastyClock())
    write(found, world.out)
    world.heard.clear()
    world.simulator.stats.reset()
    return found


@pytest.mark.parametrize("fault", [{}, {"page_cap": 40}, {"limit_refused": 70}, {"ends": "seconds"}])
@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_a_source_that_keeps_its_contract_is_harvested_without_a_word(
    tmp_path: Path, fault: dict[str, Any], resolution: Resolution
) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([fault] if fault else [])
        await probed(world)
        outcome = await world.run(resolution=resolution)
        assert (outcome.exit_code, changes(world)) == (0, [])
        assert not world.difference()
        largest = fault.get("page_cap") or (50 if fault.get("limit_refused") else 100)
        limits = [entry["limit"] for entry in world.simulator.stats.asked]
        assert (limits[0], max(limits)) == (largest, largest)  # smaller: looks behind an end
        assert 400 not in world.simulator.stats.by_status

    live(tmp_path, story, records=300)


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ({"page_cap": 13}, "limit"),
        ({"limit_refused": 60}, "limit"),
        ({"more_than_limit": 3}, "limit"),
        ({"offset_ignored": True}, "offset"),
        ({"order": "descending"}, "order"),
        ({"foreign": 2}, "sub_second"),
    ],
    ids=lambda value: str(value),
)
def test_a_contract_that_changed_is_told_and_the_run_goes_on_by_what_it_sees(
    tmp_path: Path, fault: dict[str, Any], fact: str
) -> None:
    async def story(world: World) -> None:
        await probed(world)
        by_offset = [{"order": "ignored"}] if fact == "offset" else []  # else pages are read by time
        world.simulator.set_faults([fault, *by_offset])
        outcome = await world.run(resolution=Resolution.DAY)
        assert fact in [change.fact for change in changes(world)]
        assert len(changes(world)) == len({change.fact for change in changes(world)})
        if outcome.exit_code == 0:
            assert not world.difference()
        assert outcome.exit_code == 0 or fact == "offset"

    live(tmp_path, story, records=300)


def test_a_contract_out_of_date_is_never_believed_where_that_could_lose_a_record(tmp_path: Path) -> None:
    """Pages of 100 were whole when the probe looked; now they are cut to 37, and that is never an end."""

    async def story(world: World) -> None:
        known = await probed(world)
        world.simulator.set_faults([{"page_cap": 37}])
        for resolution in (Resolution.DAY, Resolution.AUTO):
            out = world.out.with_name(resolution.value)
            write(known, out)
            assert (await world.run(out=out, resolution=resolution)).exit_code == 0
            assert not world.difference(out)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]"])
def test_a_contract_that_cannot_be_read_is_told_and_not_used(tmp_path: Path, content: bytes) -> None:
    async def story(world: World) -> None:
        await probed(world)
        (world.out / FILE).write_bytes(content)
        assert (await world.run()).exit_code == 0
        (change,) = changes(world)
        assert change.fact == "contract.json"
        assert "probe again" in change.seen

    live(tmp_path, story, records=30)


def test_a_contract_of_another_source_is_told_and_not_used(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        write(replace(await probed(world), source="https://elsewhere"), world.out)
        assert (await world.run()).exit_code == 0
        assert [change.fact for change in changes(world)] == ["source"]

    live(tmp_path, story, records=30)
