"""records: a newer version that came with the pages of another window takes the place of the older one."""

import os
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from harvester import events
from harvester.dialects import Ask, Row
from harvester.job import Outcome
from harvester.pages import Pages, Served, Stretches
from harvester.records import Gather, Held
from harvester.records.strays import Strays
from harvester.scheduler import Harvest
from harvester.testing.truth import harvested
from harvester.windows import Resolution, Span, Window
from tests.harvesting import START, TOKEN_ENV, HastyClock, hours, settings
from tests.loopback import Peer, answer, serving
from tests.test_pages import DIALECT, HOUR, FakeServer, evenly, row
from tests.test_pages_adversary import sheaf_of

OLD, NEW = "2024-01-01T12:00:00.000Z", "2024-01-02T12:00:00.000Z"
HALF = HOUR.start + timedelta(minutes=30)
JSON = "Content-Type: application/json"


def strays_of(*rows: Row, limit_bytes: int = 1000) -> Strays:
    strays = Strays(limit_bytes)
    strays.note(list(rows), DIALECT.version_is_newer)
    return strays


def test_of_two_versions_the_newer_one_waits() -> None:
    old, new = row(1, HALF, OLD), row(1, HALF, NEW)
    assert strays_of(old, new).take(HOUR) == strays_of(new, old).take(HOUR) == [new]


def test_what_lies_before_a_window_that_is_stored_is_let_go_and_what_lies_behind_it_waits() -> None:
    before, inside = row(1, HOUR.start - timedelta(seconds=1)), row(2, HALF)
    behind = row(3, HOUR.end)
    strays = strays_of(before, inside, behind)
    assert strays.take(HOUR) == [inside]
    assert strays.take(Window(start=before[0], end=HOUR.end)) == []
    assert strays.take(Window(start=HOUR.end, end=HOUR.end + timedelta(hours=1))) == [behind]


def test_beyond_the_bound_what_lies_latest_is_let_go() -> None:
    rows = evenly(20)
    strays = strays_of(*rows[::-1], limit_bytes=3 * len(rows[0][3]))
    assert sorted(strays.take(HOUR)) == rows[:3]


@pytest.mark.parametrize("way", ["in memory", "on disk", "in two runs"])
def test_a_batch_takes_what_is_newer_of_its_own_records_and_nothing_else(tmp_path: Path, way: str) -> None:
    numbers = count()
    rows = evenly(5)
    newer, older = (
        row(1, rows[1][0], "2025-01-01T00:00:00.000Z"),
        row(2, rows[2][0], "2023-01-01T00:00:00.000Z"),
    )
    strangers = [row(77, HALF, NEW), row(3, HALF + timedelta(minutes=29), NEW)]

    async def renewed() -> tuple[list[Row], int]:
        held = Held(limit_bytes=0, run_bytes=0) if way == "in two runs" else Held()
        gather = Gather(
            HOUR, dialect=DIALECT, held=held, spill_path=lambda: tmp_path / f"spill-{next(numbers)}"
        )
        gather.begin(HOUR)
        await gather.add(rows[:3], [])
        await gather.add(rows[3:], [])
        batch = await gather.batch()
        if way == "on disk":
            batch.spill(lambda: tmp_path / "spill")
        batch.renew([newer, older, *strangers], DIALECT.version_is_newer)
        got = list(batch.rows)
        batch.discard()
        return got, held.bytes

    assert anyio.run(renewed) == ([rows[0], newer, *rows[2:]], 0)


def test_rows_of_another_part_of_a_window_are_strays_too() -> None:
    first, second = HOUR.halves()
    held = Held()

    async def gathering() -> None:
        gather = Gather(HOUR, dialect=DIALECT, held=held, spill_path=lambda: Path("/nowhere"))
        gather.begin(first)
        await gather.add(evenly(4), [])

    anyio.run(gathering)
    assert held.strays.take(second) == evenly(4)[2:]


def test_by_time_a_newer_version_in_the_overlap_of_two_pages_is_taken() -> None:
    rows = evenly(40)
    newer = {one[1]: (one[0], one[1], NEW, one[3]) for one in rows}
    shown: dict[object, str] = {}

    def rewrite(page: list[Row], ask: Ask) -> list[Row]:
        """Each record is written again as soon as it has come."""
        page = [newer[one[1]] if one[1] in shown else one for one in page]
        shown.update((one[1], one[2]) for one in page)
        return page

    server = FakeServer(rows, spoil=rewrite, order=sorted)
    span = Span(start=HOUR.start, end=HOUR.end)

    async def reading() -> list[Row]:
        served = Served(limit=10, order_kept=True)
        pages = Pages(server, dialect=DIALECT, served=served, emit=events.nobody)
        sheaf = sheaf_of(span)
        await Stretches(server, pages, dialect=DIALECT, served=served, emit=events.nobody).read(span, sheaf)
        return [one for told in await sheaf.batches() if not isinstance(told, tuple) for one in told.rows]

    assert {one[1]: one[2] for one in anyio.run(reading)} == shown
    assert NEW in shown.values()


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
@pytest.mark.parametrize("order", ["date", "key"])
def test_a_run_keeps_the_newest_version_that_was_shown(
    tmp_path: Path, resolution: Resolution, order: str
) -> None:
    """Records stand half a second before the end of each hour, and are written again whenever they came."""
    moments = [START + timedelta(hours=n + 1, milliseconds=-500) for n in range(6) for _ in range(3)]
    moments += [START + timedelta(minutes=13 * n, seconds=7) for n in range(24)]
    records = {f"{n:024x}": at for n, at in enumerate(moments)}
    versions = dict.fromkeys(records, 0)
    shown: dict[str, int] = {}

    def page(asked: dict[str, Any]) -> list[dict[str, Any]]:
        start, end = (datetime.fromisoformat(asked[name]) for name in ("StartDateTime", "EndDateTime"))
        inside = [key for key, at in records.items() if start <= at <= end]
        is_by_date = order == "date" and asked.get("OrderBy") == DIALECT.date_field
        inside.sort(key=lambda key: (records[key], key) if is_by_date else (key,))
        some = inside[asked.get("Offset", 0) :][: min(9, asked["Limit"])]
        told = []
        for key in some:
            shown[key] = versions[key]
            written = START + timedelta(days=9, seconds=versions[key])
            told.append(
                {"_id": key, "StartedDateTimeUtc": iso(records[key]), "RecordWrittenAtUtc": iso(written)}
            )
            versions[key] += 1
        return told

    async def script(peer: Peer) -> None:
        data = page(orjson.loads(peer.body))
        body = orjson.dumps({"resultCode": 0, "resultCodeName": "Success", "data": data})
        await peer.send(answer(body, "200 OK", JSON))

    async def story() -> Outcome:
        os.environ[TOKEN_ENV] = "t"
        fast = {"requests_per_second": 1000.0, "concurrency": 2}
        async with serving(script) as server:
            job = settings(
                tmp_path / "out", server.url, span=hours(0, 6), resolution=resolution, transport=fast
            )
            return await Harvest(job, emit=events.nobody, clock=HastyClock()).run()

    outcome = anyio.run(story)
    assert outcome.exit_code == 0, outcome
    got = {one["_id"]: one["RecordWrittenAtUtc"] for one in map(orjson.loads, harvested(tmp_path / "out"))}
    assert got == {key: iso(START + timedelta(days=9, seconds=seen)) for key, seen in shown.items()}


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")[:23] + "Z"
