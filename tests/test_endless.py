"""pages: a source without an end, or one that sends the same whatever is asked, ends a run all the same."""

import contextlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from harvester import dialects, events
from harvester.dialects import Ask, Page, Reject
from harvester.errors import ContractBroken, Moved
from harvester.job import Outcome
from harvester.pages import Pages, Served, Stretches, Unsorted, by_key, recalls
from harvester.records import Gather, Held
from harvester.scheduler import Harvest
from harvester.windows import Partition, Resolution, Span, Window
from tests.harvesting import START, TOKEN_ENV, HastyClock, hours, settings
from tests.loopback import Peer, answer, serving
from tests.test_pages import HOUR, evenly, read
from tests.test_pages_adversary import sheaf_of

Sends = Callable[[int, dict[str, Any]], list[dict[str, Any]]]
"""What is on the page for the request of this number."""
SPAN = hours(0, 4)
INSIDE, BESIDE = START + timedelta(minutes=90), START - timedelta(days=40)
JSON = "Content-Type: application/json"
FAST: dict[str, Any] = {"requests_per_second": 1000.0, "concurrency": 1}
WINDOWS = [Window(start=START + timedelta(hours=n), end=START + timedelta(hours=n + 1)) for n in (1, 0)]
DAY = Partition(name="2024-01-01", start=START, end=START + timedelta(days=1))
MOST = 500
"""Requests: a dozen of halves, some for each, and what shows that records are made up."""
STATES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "larger pages": {"whole_page": 50, "pages": 9, "records": 300},
    "the order": {"whole_page": 50, "pages": 9, "records": 300, "order_kept": True},
    "keys": {"seeks": True, "order_kept": True},
    "no offsets": {"offset_ignored": True},
    "no offsets, larger pages": {"offset_ignored": True, "whole_page": 50, "pages": 9, "records": 300},
}
"""What a run may have seen before."""
DIALECT = dialects.load("interactions").select()


def record(number: int, at: datetime) -> dict[str, Any]:
    return {"_id": f"{number:024x}", "StartedDateTimeUtc": at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}


def same(count: int, at: datetime, step_s: float = 1.0) -> Sends:
    page = [record(n, at + n * timedelta(seconds=step_s)) for n in range(count)]
    return lambda number, asked: page


def copies(number: int, asked: dict[str, Any]) -> list[dict[str, Any]]:
    return [record(1, INSIDE)] * 3


def in_turn(count: int, size: int) -> Sends:
    """Pages of `size` of so many records, as if they stood in a ring."""
    ring = [record(n, INSIDE) for n in range(count)]

    def sends(number: int, asked: dict[str, Any]) -> list[dict[str, Any]]:
        first = asked.get("Offset", 0)
        return [ring[(first + n) % count] for n in range(size)]

    return sends


def invented(count: int, *, at: datetime | None = None) -> Sends:
    """Other records for each request, at one time or anywhere in what is asked for."""

    def sends(number: int, asked: dict[str, Any]) -> list[dict[str, Any]]:
        start, end = (datetime.fromisoformat(asked[name]) for name in ("StartDateTime", "EndDateTime"))
        step = (end - start) / (count + 1)
        keys = [(number * count + n) * 7919 % 2**40 for n in range(count)]
        return [record(key, at or start + (n + 1) * step) for n, key in enumerate(keys)]

    return sends


def spoilt(number: int, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """A good record, and one without a key that is another one each time."""
    return [record(1, INSIDE), {"n": number}]


SOURCES: dict[str, Sends] = {
    "one record": same(1, INSIDE),
    "one record of another time": same(1, BESIDE),
    "three copies": copies,
    "five records": same(5, INSIDE),
    "five records of another time": same(5, BESIDE),
    "thirty records": same(30, START, 300.0),
    "thirty records of another time": same(30, BESIDE, 300.0),
    "one of two in turn": in_turn(2, 1),
    "a ring": in_turn(5, 2),
    "one that is made up": invented(1),
    "one that is made up, of another time": invented(1, at=BESIDE),
    "five that are made up": invented(5),
    "twenty that are made up": invented(20),
    "thirty made up in one instant": invented(30, at=INSIDE),
    "one record and a bad one": spoilt,
}


class Source:
    """Answers a walk, a stretch or a job's requests in the same way."""

    def __init__(self, sends: Sends) -> None:
        self._sends = sends
        self.asked = 0

    def page(self, asked: dict[str, Any]) -> bytes:
        self.asked += 1
        assert self.asked <= 3000, "no end"
        page = self._sends(self.asked, asked)
        return orjson.dumps({"resultCode": 0, "resultCodeName": "Success", "data": page})

    async def send(self, ask: Ask, /) -> Page:
        body = DIALECT.request(ask).body
        return DIALECT.read(self.page(orjson.loads(body or b"{}")), ask)


def two_windows_of(source: Source, served: Served) -> None:
    async def reading() -> None:
        pages = Pages(source, dialect=DIALECT, served=served, emit=events.nobody)
        for window in WINDOWS:
            gather = Gather(window, dialect=DIALECT, held=Held(), spill_path=lambda: Path("/nowhere"))
            await pages.read(window, gather)

    anyio.run(reading)


def stretches_of(source: Source, served: Served, *spans: Span) -> None:
    async def reading() -> None:
        pages = Pages(source, dialect=DIALECT, served=served, emit=events.nobody)
        stretches = Stretches(source, pages, dialect=DIALECT, served=served, emit=events.nobody)
        for span in spans:
            sheaf = sheaf_of(span)
            await stretches.read(span, sheaf)
            for told in await sheaf.batches():
                if isinstance(told, tuple):
                    raise Moved(told[1])

    anyio.run(reading)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (name, known)
        for name in SOURCES
        for known in STATES
        # A record alone is asked for once where larger pages came: nobody cuts to one.
        if (name, known) != ("one that is made up", "no offsets, larger pages")
    ],
)
def test_windows_end_and_are_not_whole(name: str, known: str) -> None:
    """Two of them, for one record alone may well be all that is in one."""
    source = Source(SOURCES[name])
    with pytest.raises((ContractBroken, Moved)):
        two_windows_of(source, Served(limit=100, **STATES[known]))
    assert source.asked < MOST


@pytest.mark.parametrize("known", STATES)
@pytest.mark.parametrize("name", SOURCES)
def test_stretches_end_and_are_not_whole(name: str, known: str) -> None:
    """Whatever was seen before: the server may have begun to fail in this way when the order was proven."""
    source = Source(SOURCES[name])
    with pytest.raises((ContractBroken, Moved, Unsorted)):
        stretches_of(source, Served(limit=100, **STATES[known]), hours(2, 4), hours(0, 2))
    assert source.asked < MOST
    source = Source(SOURCES[name])
    with contextlib.suppress(ContractBroken, Moved, Unsorted):  # one record alone may be all
        stretches_of(source, Served(limit=100, **STATES[known]), SPAN)
    assert source.asked < MOST


def test_rows_of_another_time_are_not_asked_for_in_each_second_of_a_window() -> None:
    """Where offsets are taken for ignored, and are not, each half looks cut till one is walked to the end."""
    beside = [record(n, BESIDE) for n in range(5)]
    source, served = Source(lambda number, asked: beside[asked.get("Offset", 0) :]), Served(limit=100)
    served.offset_ignored = True
    two_windows_of(source, served)
    assert source.asked < MOST
    assert (served.offset_ignored, served.offset_works) == (False, True)


def without_end(number: int, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The same ones each time, all of one instant, as many as are asked for behind any offset or key."""
    start, end = (datetime.fromisoformat(asked[name]) for name in ("StartDateTime", "EndDateTime"))
    after = asked.get("Filter", {}).get("_id", {}).get("$gt")
    first = asked.get("Offset", 0) + (0 if after is None else int(after, 16) + 1)
    return [record(first + n, INSIDE) for n in range(asked["Limit"])] if start <= INSIDE <= end else []


@pytest.mark.parametrize("seeks", [False, True])
def test_records_without_end_are_read_in_smaller_windows_and_then_told(
    monkeypatch: pytest.MonkeyPatch, seeks: bool
) -> None:
    monkeypatch.setattr(recalls, "MOST_PAGES", 512)
    monkeypatch.setattr(by_key, "MOST_PAGES", 64)
    source = Source(without_end)
    with pytest.raises(ContractBroken, match=r"512 pages and no end; raise .* page_size or choose a smaller"):
        two_windows_of(source, Served(limit=20, seeks=seeks, order_kept=True))
    assert 5 * 512 <= source.asked < 6 * 512


def test_an_instant_without_end_is_not_read_by_time() -> None:
    source = Source(without_end)
    with pytest.raises(Unsorted):
        stretches_of(source, Served(limit=20, order_kept=True), SPAN)
    assert source.asked < 1100


def test_items_in_front_that_are_no_records_cost_no_walk_of_every_second() -> None:
    """They stand before the records of another hour, which come whatever is asked for, and tell no place."""
    rejects = [Reject(reason="no _id", raw=b"%d" % n) for n in range(6)]

    class Rows:
        asked = 0

        async def send(self, ask: Ask, /) -> Page:
            self.asked += 1
            front, rows = rejects[ask.offset :], evenly(5)[max(0, ask.offset - len(rejects)) :]
            return Page(rows=rows, rejects=front)

    server = Rows()
    window = Window(start=HOUR.end, end=HOUR.end + timedelta(hours=1))
    assert read(server, window=window, limit=1000).records == 0
    assert server.asked < 20


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
@pytest.mark.parametrize("name", ["one record", "one that is made up"])
def test_a_run_ends_with_6(tmp_path: Path, name: str, resolution: Resolution) -> None:
    source = Source(SOURCES[name])

    async def script(peer: Peer) -> None:
        await peer.send(answer(source.page(orjson.loads(peer.body)), "200 OK", JSON))

    async def story() -> Outcome:
        os.environ[TOKEN_ENV] = "t"
        async with serving(script) as server:
            job = settings(tmp_path / "out", server.url, span=SPAN, resolution=resolution, transport=FAST)
            return await Harvest(job, emit=events.nobody, clock=HastyClock()).run()

    outcome = anyio.run(story)
    assert outcome.exit_code == 6, outcome
    assert not (tmp_path / "out/_SUCCESS").exists()
    assert source.asked < 1000
