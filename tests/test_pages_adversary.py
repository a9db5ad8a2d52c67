"""pages against a server that does its worst: exact for all that stood still, or told; never silently short.

A seed makes a server: a cap that differs by call, by range, by offset or by the bytes of the records, ties,
doubles, an order that is kept or not or turned round for single requests, offsets that are ignored or
refused, filters by key that work or not, rows that are deleted and inserted between two calls. Where offsets
are ignored or refused, no page is cut to a single record: that cannot be told from a range with one record in
it by any request.
"""

import os
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import anyio
import pytest

from harvester import dialects, events
from harvester.dialects import Ask, Page, Row
from harvester.errors import Rejected, SourceError
from harvester.pages import Pages, Served, Stretches, Unsorted
from harvester.records import Batch, Gather, Held, Sheaf
from harvester.windows import Partition, Span, Window

SEEDS = int(os.environ.get("ADVERSARY_SEEDS", "120"))
"""`scripts/adversary` tries many more."""
DIALECT = dialects.load("interactions").select()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
LOT = Span(start=NOON, end=NOON + timedelta(hours=4))
CUTS = tuple(NOON + timedelta(hours=n) for n in (1, 2, 3, 4))
WINDOWS = [Window(start=start, end=end) for start, end in pairwise((NOON, *CUTS))]
DAY = Partition(name="2024-01-01", start=NOON - timedelta(hours=12), end=NOON + timedelta(hours=12))


@dataclass
class Adversary:
    rng: random.Random
    rows: list[Row]
    cap: str
    least: int
    most: int
    order: str
    offsets: str
    depth: int
    moves: float
    includes_ends: bool
    seeks: str
    """What a filter by key does; "never": a run does not use it. "nothing": no record passes it."""
    opposite: float
    """Which share of the requests is answered in the opposite order: the same ones always."""
    dropped: float = 0.0
    """Which share of the requests is answered in an order of its own."""
    copies: float = 0.0
    """To which share of the answers one of its records is added once more, at the end."""
    limit: int = 1000
    """What is asked for."""
    gone: set[Row] = field(default_factory=set)
    late: list[Row] = field(default_factory=list)
    calls: int = 0

    async def send(self, ask: Ask, /) -> Page:
        self.calls += 1
        if self.calls > 4000:
            raise SourceError("the test's bound of requests")
        self._move()
        if self.offsets == "refused" and ask.offset >= self.depth:
            raise Rejected("too deep", status_code=400)
        inside = [
            row
            for row in self.rows
            if ask.start < row[0] < ask.end or (self.includes_ends and row[0] in (ask.start, ask.end))
        ]
        if ask.after is not None:
            if self.seeks == "refused":
                raise Rejected("no filter", status_code=400)
            inside = [row for row in inside if self._is_behind(row, ask.after)]
        offset = 0 if self.offsets == "ignored" else ask.offset
        rows = self._ordered(inside, ask)
        if zlib.crc32(f"{ask}".encode()) % 1000 < 1000 * self.opposite:
            rows = rows[::-1]
        if self.dropped and self.rng.random() < self.dropped:
            rows = self.rng.sample(rows, len(rows))
        size = min(ask.limit, self._cap(ask), self._fitting(rows[offset:]))
        page = rows[offset : offset + size]
        if page and self.copies and self.rng.random() < self.copies:
            page = [*page, self.rng.choice(page)]
        return Page(rows=page)

    def _is_behind(self, row: Row, key: str | int) -> bool:
        if self.seeks == "$gte":
            return str(row[1]) >= str(key)
        return self.seeks == "ignored" or (self.seeks == "works" and str(row[1]) > str(key))

    def _cap(self, ask: Ask) -> int:
        if self.cap in ("none", "bytes"):
            return 10**6
        subject = {
            "constant": "",
            "range": f"{ask.start}{ask.end}",
            "offset": f"{ask.offset}",
            "call": f"{self.calls}",
        }[self.cap]
        drawn = zlib.crc32(f"{self.most}{subject}".encode())
        return self.least + drawn % (self.most - self.least + 1)

    def _fitting(self, rows: list[Row]) -> int:
        """How many go into an answer of so many bytes, one at least."""
        if self.cap != "bytes":
            return len(rows)
        sizes = accumulate(1 + zlib.crc32(f"{row[1]} long".encode()) % self.most for row in rows)
        return max(1, sum(size <= 3 * self.most // 2 for size in sizes))

    def _ordered(self, rows: list[Row], ask: Ask) -> list[Row]:
        if self.order == "ignored":
            return sorted(rows, key=lambda row: zlib.crc32(str(row[1]).encode()))
        if self.order == "ties":  # by time, and ties as they come
            return sorted(rows, key=lambda row: (row[0], self.rng.random()))
        if self.order == "seconds":  # milliseconds do not count
            return sorted(rows, key=lambda row: (row[0].replace(microsecond=0), self.rng.random()))
        if self.order == "shuffled":
            return self.rng.sample(rows, len(rows))
        by_date = ask.order_by == DIALECT.date_field
        if self.order == "ties by date" and by_date:
            return sorted(rows, key=lambda row: (row[0], self.rng.random()))
        return sorted(rows, key=lambda row: (row[0], row[1]) if by_date else (row[1], row[0]))

    def _move(self) -> None:
        if self.rng.random() >= self.moves:
            return
        if self.rows and self.rng.random() < 0.6:
            row = self.rng.choice(self.rows)
            self.gone.add(row)
            self.rows = [one for one in self.rows if one != row]
        else:
            row = record(self.rng)
            self.late.append(row)
            self.rows.append(row)


def record(rng: random.Random, at: datetime | None = None) -> Row:
    at = at or NOON + rng.randrange(-5_000, 4 * 3_600_000 + 5_000) * MS
    key = f"{rng.getrandbits(64):016x}"
    return (at, key, "2024-01-02T00:00:00Z", f'{{"_id":"{key}"}}'.encode())


def adversary(seed: int) -> Adversary:
    rng = random.Random(seed)
    rows = [record(rng) for _ in range(rng.choice([0, 1, 3, 9, 30, 90]))]
    offsets = rng.choice(["work", "work", "work", "ignored", "refused"])
    order = rng.choice(["kept", "kept", "ties by date", "ties", "ignored", "shuffled"])
    cap = rng.choice(
        ["none", "constant", "range", "offset", "call", *(["bytes"] if offsets == "work" else [])]
    )
    for _ in range(rng.randrange(3)):
        at = NOON + rng.randrange(4 * 3600) * timedelta(seconds=1)
        rows += [record(rng, at) for _ in range(rng.randrange(12))]
    rows += rng.sample(rows, rng.choice([0, 0, 0, len(rows) // 8]))
    rng.shuffle(rows)
    steady = order in ("kept", "ignored")
    least = rng.randrange(1 if offsets == "work" else 2, 9)
    return Adversary(
        rng=rng,
        rows=rows,
        cap=cap,
        least=least,
        most=least + rng.randrange(12),
        order=order,
        offsets=offsets,
        depth=rng.randrange(1, 40),
        moves=rng.choice([0.0, 0.0, 0.05, 0.3]) if steady else 0.0,
        includes_ends=rng.random() < 0.7,
        seeks=rng.choice(["never", "works", "works", "ignored", "refused", "nothing", "$gte"]),
        opposite=rng.choice([0.0, 0.0, 0.1, 0.3]),
        limit=rng.choice([8, 12, 25, 1000]),
    )


@pytest.mark.parametrize("by_time", [True, False], ids=["by time", "by offset"])
def test_never_silently_short(by_time: bool) -> None:
    for seed in range(SEEDS):
        anyio.run(story, seed, by_time, adversary(seed))


@pytest.mark.parametrize("seed", [5359, 12128])
def test_no_offset_vouches_for_the_first_page_of_an_instant(seed: int) -> None:
    """They ignore offsets, and cut each to another size: the first page of a tie is cut to less than one of
    another offset was."""
    server = adversary(seed)
    assert (server.offsets, server.cap) == ("ignored", "offset")
    anyio.run(story, seed, False, server)


async def story(seed: int, by_time: bool, server: Adversary, *, order_kept: bool | None = None) -> None:
    truth = set(server.rows)
    served = Served(limit=server.limit, seeks=server.seeks != "never", order_kept=order_kept)
    pages = Pages(server, dialect=DIALECT, served=served, emit=events.nobody)
    stretches = Stretches(server, pages, dialect=DIALECT, served=served, emit=events.nobody)
    sheaf = sheaf_of(LOT, cuts=CUTS)
    told: list[Batch | tuple[Window, str]] = []
    try:
        if not by_time:
            raise Unsorted
        beyond = timedelta(minutes=server.rng.choice([0, 20]))
        horizon = LOT.end + timedelta(days=server.rng.choice([0, 1]))
        await stretches.read(LOT, sheaf, cuts=CUTS, beyond=beyond, horizon=horizon)
        told = await sheaf.batches()
    except Unsorted:
        told = [await walked(pages, window) for window in WINDOWS]
    except SourceError as error:
        told = [(Window(start=LOT.start, end=LOT.end), str(error))]
    for one in told:
        window = one.window if isinstance(one, Batch) else one[0]
        if not isinstance(one, Batch):
            continue
        got = {row[1] for row in one.rows}
        stood = {row[1] for row in truth - server.gone if window.contains(row[0])}
        ever = {row[1] for row in truth | set(server.late) if window.contains(row[0])}
        assert stood <= got <= ever, (seed, stood - got, window, server)
    windows = [one.window if isinstance(one, Batch) else one[0] for one in told]
    assert (windows[0].start, windows[-1].end) == (LOT.start, LOT.end)
    assert all(one.end == other.start for one, other in pairwise(windows)), seed


def sheaf_of(stretch: Span, *, cuts: Sequence[datetime] = ()) -> Sheaf:
    """What a stretch within the day gathers its rows in; nothing of it goes to disk."""
    return Sheaf(
        stretch.start,
        stretch.end,
        partition_of=lambda at: DAY,
        dialect=DIALECT,
        held=Held(),
        spill_path=lambda: Path("/nowhere"),
        cuts=cuts,
    )


async def walked(pages: Pages, window: Window) -> Batch | tuple[Window, str]:
    gather = Gather(window, dialect=DIALECT, held=Held(), spill_path=lambda: Path("/nowhere"))
    try:
        await pages.read(window, gather)
        return await gather.batch()
    except SourceError as error:
        return window, str(error)


def test_a_server_that_does_all_right_is_read_whole_whatever_its_caps() -> None:
    """Where nothing moves, offsets work and the order is kept, no cap is an excuse."""
    for seed in range(SEEDS):
        server = adversary(seed)
        server.order, server.offsets, server.moves, server.opposite = "kept", "work", 0.0, 0.0
        anyio.run(whole, server, seed)


@pytest.mark.parametrize("seed", [895, 4254, 7364, 19616])
def test_nor_are_records_that_are_held_twice_and_alone_on_their_pages(seed: int) -> None:
    """They cost hundreds of requests each where only walks show that they are, in each second around them."""
    server = adversary(seed)
    server.order, server.offsets, server.moves, server.opposite = "kept", "work", 0.0, 0.0
    anyio.run(whole, server, seed)
    assert server.calls < 2500


async def whole(server: Adversary, seed: int) -> None:
    served = Served(limit=1000, seeks=server.seeks != "never")
    pages = Pages(server, dialect=DIALECT, served=served, emit=events.nobody)
    stretches = Stretches(server, pages, dialect=DIALECT, served=served, emit=events.nobody)
    sheaf = sheaf_of(LOT, cuts=CUTS)
    try:
        await stretches.read(LOT, sheaf, cuts=CUTS)
        told = await sheaf.batches()
    except Unsorted:
        told = [await walked(pages, window) for window in WINDOWS]
    got = [row[1] for one in told if isinstance(one, Batch) for row in one.rows]
    assert sorted(got) == sorted({row[1] for row in server.rows if LOT.start <= row[0] < LOT.end}), seed


@pytest.mark.parametrize("offsets", ["ignored", "refused"])
@pytest.mark.parametrize("ties", [1, 2])
def test_an_instant_alone_and_far_away_is_not_reached_second_by_second(offsets: str, ties: int) -> None:
    """It shows no order on its page, and without offsets nothing proves what stands before it."""
    server = adversary(0)
    server.cap, server.order, server.offsets, server.depth = "none", "kept", offsets, 1
    server.moves = server.opposite = 0.0
    at = LOT.start + timedelta(hours=3, minutes=50)
    server.rows = [record(server.rng, at) for _ in range(ties)]

    async def reading() -> list[Batch | tuple[Window, str]]:
        served = Served(limit=100, order_kept=True, whole_page=50)
        pages = Pages(server, dialect=DIALECT, served=served, emit=events.nobody)
        stretches = Stretches(server, pages, dialect=DIALECT, served=served, emit=events.nobody)
        sheaf = sheaf_of(LOT)
        await stretches.read(LOT, sheaf)
        return await sheaf.batches()

    told = anyio.run(reading)
    got = [row[1] for one in told if isinstance(one, Batch) for row in one.rows]
    assert sorted(map(str, got)) == sorted(str(row[1]) for row in server.rows)
    assert server.calls < 80
