"""One server manner after the other, end to end, against the truth: docs/behaviours.md says which row proves
what. What is proven elsewhere (tests/harvesting.py's MISCHIEF, test_moving, test_auto) is not repeated."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.job import Outcome
from harvester.testing import Settings
from harvester.testing.faults import KINDS
from harvester.testing.server import Simulator
from harvester.windows import Resolution
from tests.harvesting import HastyClock, World, live, manifest

DAY, HOUR, AUTO = Resolution.DAY, Resolution.HOUR, Resolution.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """Under it a harvest is exact and ends with 0."""

    faults: list[dict[str, Any]]
    resolution: Resolution = AUTO
    page_size: int = 25
    transport: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    strikes: bool = True
    """Whether the server's own count of what it did is looked at."""


def manner(*faults: dict[str, Any], **more: Any) -> Manner:
    """A fault that strikes now and then needs requests to strike: hours have more than Auto."""
    now_and_then = any("share" in fault for fault in faults)
    return Manner(faults=list(faults), **{"resolution": HOUR if now_and_then else AUTO} | more)


SHORT = {"request_timeout_s": 0.3}
MANNERS = {
    "ends left out on both sides": manner({"ends": "open"}),
    "ends left out on both sides, days": manner({"ends": "open"}, resolution=DAY),
    "the start left out": manner({"ends": "end_only"}, resolution=DAY),
    "ends left out, in whole seconds": manner({"ends": "open_seconds"}, resolution=DAY),
    "the end left out, in whole seconds": manner({"ends": "exclusive_seconds"}, resolution=HOUR),
    "the start left out, in whole seconds": manner({"ends": "end_only_seconds"}),
    "an offset behind the end refused": manner({"past_end": "refused"}, resolution=DAY),
    "an offset behind the end refused, Auto": manner({"past_end": "refused"}),
    "the last record again behind the end": manner({"past_end": "last"}, resolution=DAY),
    "the last record again behind the end, Auto": manner({"past_end": "last"}),
    "another cap for some windows": manner(
        {"page_cap": 50, "start": "2024-01-02T00:00:05Z"}, resolution=DAY, page_size=100
    ),
    "Limit ignored": manner({"limit_ignored": 120}, resolution=HOUR),
    "Offset ignored, a few records in two days": manner(
        {"offset_ignored": True}, resolution=HOUR, settings={"records": 5, "cluster": 1}
    ),
    "slow with depth": manner({"slow_offset_ms": 300.0}, resolution=DAY),
    "rows of other windows": manner({"foreign": 3}),
    "rows of other windows, hours": manner({"foreign": 3}, resolution=HOUR),
    "a record in two pages": manner({"duplicates": 0.1, "distance": 30}, resolution=DAY),
    "a record twice in a page": manner({"duplicates": 0.2, "distance": 1}),
    "the older version on a later page": manner(
        {"versions": 0.1, "distance": 30, "older_first": False}, resolution=DAY
    ),
    "the older version first": manner({"versions": 0.2}),
    "integers beyond 64 bits": manner({"record": "bigint", "one_in": 10}, strikes=False),
    "a key of the record twice": manner({"record": "twice_keys", "one_in": 10}, strikes=False),
    "a gzip stream cut short": manner({"cut": "gzip", "share": 0.1}, settings={"gzip": True}),
    "a chunk cut short": manner({"cut": "chunked", "share": 0.1}),
    "a failure and a success in one answer": manner({"body": "two_codes", "share": 0.1}),
    "two lists in one answer": manner({"body": "two_lists", "share": 0.1}),
    "a part of an answer": manner({"status": 206, "share": 0.1, "content": "no_records"}),
    "something behind the JSON": manner({"body": "trailing", "share": 0.1}),
    "408": manner({"status": 408, "share": 0.1}),
    "502": manner({"status": 502, "share": 0.1, "content": "html"}),
    "504": manner({"status": 504, "share": 0.1, "content": "empty"}),
    "a proxy's words now and then": manner(
        *(
            {"status": code, "content": "empty", "share": 0.03, "after": 2}
            for code in (302, 304, 404, 409, 410, 425)
        ),
        transport={"max_attempts": 8},
    ),
    "429 without a pause": manner({"status": 429, "share": 0.1}),
    "503 until a date of a clock that is wrong": manner(
        {"status": 503, "retry_after": 1, "retry_as": "date", "share": 0.1}, {"skew_s": 86_400.0}
    ),
    "429 for three thousand years": manner({"status": 429, "retry_after": 10**11, "times": 1}),
    "a hidden limit with a burst of 1": manner({"rate": 60.0, "burst": 1.0, "retry_after": None}),
    "X-RateLimit in seconds": manner({"rate": 80.0, "burst": 1.0, "retry_after": None, "headers": "seconds"}),
    "X-RateLimit as Unix time": manner({"rate": 80.0, "burst": 1.0, "retry_after": None, "headers": "epoch"}),
    "RateLimit": manner({"rate": 80.0, "burst": 1.0, "retry_after": None, "headers": "draft"}),
    "penalties for knocking": manner({"rate": 60.0, "burst": 2.0, "penalty_s": 0.02, "retry_after": 6}),
    "a limit on requests in flight": manner({"in_flight": 2}),
    "a few workers, and a queue before them": manner({"workers": 2, "ms": 5.0}),
    "half a minute of nobody there": manner({"refuse_s": 0.3, "after": 4}),
    "a reset before the answer": manner({"reset": "before", "share": 0.1}),
    "an answer that never comes": manner({"hang_s": 1.0, "times": 1, "after": 2}, transport=SHORT),
    "a byte a second": manner({"drip": 1.0, "times": 1, "after": 2}, transport=SHORT),
    "hours that are too long": manner({"window_refused_s": 2000.0}, resolution=HOUR),
    "an answer beyond the cap": manner(
        {"oversize": 3, "times": 2}, transport={"max_answer_bytes": 2 * 2**20}
    ),
    "a gzip bomb": manner({"gzip_bomb": 50, "times": 2}, transport={"max_answer_bytes": 2 * 2**20}),
}


class SwiftClock(HastyClock):
    """An hour in a tenth of a second."""

    factor = 36_000


@pytest.mark.parametrize("name", MANNERS)
def test_the_harvest_is_exact(tmp_path: Path, name: str) -> None:
    one = MANNERS[name]
    settings = {"records": 200, "cluster": 40, **one.settings}

    async def story(world: World) -> None:
        outcome = await world.run(
            resolution=one.resolution,
            page_size=one.page_size,
            transport={"max_attempts": 12, "max_outage_s": 120.0, **one.transport},
            clock=SwiftClock() if "thousand years" in name else HastyClock(),
        )
        assert (outcome.status, outcome.exit_code) == ("complete", 0), (outcome.error, outcome.gaps)
        assert not world.difference()
        assert manifest(world.out)["records"] == settings["records"]
        struck = world.simulator.stats.by_fault
        assert not one.strikes or all(any(name in struck for name in fault) for fault in one.faults)
        if any("rate" in fault for fault in one.faults):
            assert world.simulator.stats.by_status[429] >= 1

    live(tmp_path, story, faults=tuple(one.faults), **settings)


def test_the_list_of_behaviours_names_each_switch_of_the_simulator() -> None:
    listed = (Path(__file__).parents[1] / "docs" / "behaviours.md").read_text()
    own = {"latency_ms", "forbid"}  # how soon, and the wrong token
    assert [name for name in KINDS if name not in own and name not in listed] == []
    assert [name for name in MANNERS if not MANNERS[name].faults] == []


NO_RECORDS = ["no_key", "no_date", "null_key", "bad_date", "number", "null", "text", "list"]
DAMAGED = ["surrogate", "utf8", "nan"]


@pytest.mark.parametrize("kind", [*NO_RECORDS, *DAMAGED])
def test_what_is_no_record_is_kept_apart_named_and_asked_for_again(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        resolution = AUTO if kind in NO_RECORDS[::2] else DAY
        world.simulator.set_faults([{"record": kind, "one_in": 30}])
        outcome = await world.run(resolution=resolution)
        assert (outcome.status, outcome.exit_code) == ("gaps", 3)
        assert all("quarantined" in gap.error for gap in outcome.gaps)
        assert not world.difference(), "all others are there, and none of these"
        assert list((world.out / "_harvest" / "quarantine").iterdir())
        world.simulator.set_faults([])
        assert (await world.run(resolution=resolution)).exit_code == 0
        assert not world.difference()
        assert manifest(world.out)["records"] == 200

    live(tmp_path, story, records=200)


def test_a_token_that_expires_is_read_again_and_everybody_goes_on(tmp_path: Path) -> None:
    """One request tries the new token; the others have waited."""
    file = tmp_path / "token"
    file.write_text(Settings().token)

    async def story(world: World) -> None:
        world.simulator.set_faults([{"expire_token": 12}])

        async def renew() -> None:
            await world.until(lambda: world.simulator.stats.by_status[401] > 0)
            world.simulator.set_token("another")
            file.write_text("another")

        outcomes: list[Outcome] = []

        async def harvest() -> None:
            transport = {"token_env": None, "token_file": file, "token_wait_s": 200.0, "concurrency": 4}
            outcomes.append(await world.run(transport=transport))

        async with anyio.create_task_group() as group:
            group.start_soon(harvest)
            group.start_soon(renew)
        assert outcomes[0].exit_code == 0, outcomes[0].error
        assert not world.difference()
        assert world.simulator.stats.by_status[401] <= 4 + 2, "those under way, and those that tried"

    live(tmp_path, story, records=200)


def test_a_redirect_is_a_gap_and_the_token_stays_here(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with Simulator(Settings(records=1)).start() as elsewhere:
            target = f"{elsewhere.url}/reporting/api/v1/interaction/details"
            hour = {"start": "2024-01-02T09:00:00Z", "end": "2024-01-02T10:00:00Z"}
            world.simulator.set_faults([{"redirect": target, "code": code, **hour} for code in (302, 307)])
            outcome = await world.run(resolution=HOUR, transport={"max_attempts": 2})
            assert (outcome.status, outcome.exit_code) == ("gaps", 3)
            assert all("redirect" in gap.error for gap in outcome.gaps)
            assert elsewhere.stats.requests == 0
        world.simulator.set_faults([])
        assert (await world.run(resolution=HOUR)).exit_code == 0
        assert not world.difference()

    live(tmp_path, story, records=200)
