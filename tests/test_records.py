"""records: each key once, in its newest version, in order, and in bounded memory."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import dialects
from harvester.dialects import Reject, Row
from harvester.records.gather import Batch, Gather, Held, _equal_ones
from harvester.windows import Window

DIALECT = dialects.load("interactions").select()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
_UNDER_WAY = ((1, 1000), (18, 100), (6, 1000), (14, 1000), (66, 5000))
HOUR = Window(start=NOON, end=NOON + timedelta(hours=1))


def row(number: int, second: float, version: int = 0, text: str = "") -> Row:
    key = f"{number:024x}"
    written = f"2024-01-02T00:00:{version:02d}.000Z"
    return (
        NOON + timedelta(seconds=second),
        key,
        written,
        f'{{"_id":"{key}","v":{version},"x":"{text}"}}'.encode(),
    )


def spills(folder: Path) -> Callable[[], Path]:
    numbers = count()
    return lambda: folder / f"spill-{next(numbers)}"


def gathered(
    pages: list[list[Row]],
    *,
    held: Held | None = None,
    folder: Path = Path("/nowhere"),
    rejects: list[Reject] = [],  # noqa: B006
) -> Batch:
    async def gathering() -> Batch:
        gather = Gather(HOUR, dialect=DIALECT, held=held or Held(), spill_path=spills(folder))
        gather.begin(HOUR)
        for page in pages:
            await gather.add(page, rejects)
        return await gather.batch()

    return anyio.run(gathering)


def newest(rows: list[Row]) -> list[Row]:
    best: dict[object, Row] = {}
    for one in rows:
        if HOUR.contains(one[0]):
            known = best.get(one[1])
            if known is None or (one[2], one[0], bytes(one[3])) > (known[2], known[0], bytes(known[3])):
                best[one[1]] = one
    return sorted(best.values(), key=lambda r: (r[0], r[1]))


some_rows = st.lists(
    st.builds(row, st.integers(0, 15), st.integers(-5, 3605), st.integers(0, 3), st.sampled_from(["a", "b"])),
    max_size=50,
)


@given(rows=some_rows, seed=st.integers(0, 99))
def test_each_key_stays_once_in_its_newest_version_whatever_the_order_of_arrival(
    rows: list[Row], seed: int
) -> None:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    for arrival in (rows, shuffled):
        batch = gathered([arrival[:17], arrival[17:]])
        assert list(batch.rows) == newest(rows)


@given(rows=some_rows, size=st.integers(1, 9))
def test_a_window_that_goes_to_disk_in_runs_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], size: int
) -> None:
    folder = tmp_path_factory.mktemp("spill")
    held = Held(limit_bytes=-1, run_bytes=1)
    pages = [rows[i : i + size] for i in range(0, len(rows), size)]
    batch = gathered(pages, held=held, folder=folder)
    expected = newest(rows)
    assert batch.records == len(expected)
    assert batch.raw_bytes == sum(len(one[3]) for one in expected)
    assert list(batch.rows) == expected
    batch.discard()
    assert held.bytes == 0
    assert list(folder.iterdir()) == []


def test_above_the_bound_a_window_keeps_no_more_than_a_run_in_memory(tmp_path: Path) -> None:
    held = Held(limit_bytes=0, run_bytes=300)
    pages = [[row(i * 3 + j, i, text="x" * 100) for j in range(3)] for i in range(8)]
    batch = gathered(pages, held=held, folder=tmp_path)
    assert held.bytes == 0
    assert len(list(tmp_path.iterdir())) == 8
    assert batch.records == 24


def test_as_much_may_wait_in_memory_as_is_under_way_within_bounds() -> None:
    """Small pages make a small process, and no number of tasks a process of any size."""
    mib = 1 << 20
    found = [Held.beside(tasks, page_size).limit_bytes for tasks, page_size in _UNDER_WAY]
    assert found == [16 * mib, 16 * mib, 6 * 1000 * 4096, 48 * mib, 48 * mib]


def test_a_batch_that_has_to_wait_can_be_moved_to_disk_and_is_the_same(tmp_path: Path) -> None:
    held = Held()
    rows = [row(i, i) for i in range(600)]
    batch = gathered([rows], held=held)
    batch.spill(spills(tmp_path))
    assert held.bytes == 0
    assert list(batch.rows) == rows


def test_a_spilled_window_is_private(tmp_path: Path) -> None:
    batch = gathered([[row(1, 1)]])
    batch.spill(spills(tmp_path))
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_a_few_records_do_not_keep_their_page_in_memory() -> None:
    """Views of a page hold it as a whole: those that stay are views where they are half of it or more."""
    page = b"".join(row(number, number)[3] for number in range(10))
    size = len(page) // 10

    def viewed(numbers: range) -> list[Row]:
        view = memoryview(page)
        return [(*row(one, one)[:3], view[one * size : (one + 1) * size]) for one in numbers]

    for kept, is_view in ((4, False), (5, True), (10, True)):
        outside = [(NOON - timedelta(hours=1), *one[1:]) for one in viewed(range(kept, 10))]
        batch = gathered([[*viewed(range(kept)), *outside]])
        found = list(batch.rows)
        assert found == [row(number, number) for number in range(kept)]
        assert {isinstance(one[3], memoryview) for one in found} == {is_view}
        assert batch.raw_bytes == kept * size


def test_views_of_a_page_go_to_disk_as_their_bytes(tmp_path: Path) -> None:
    page = memoryview(b"".join(row(number, number)[3] for number in range(3)))
    size = len(page) // 3
    rows: list[Row] = [(*row(one, one)[:3], page[one * size : (one + 1) * size]) for one in range(3)]
    batch = gathered([rows], held=Held(limit_bytes=-1, run_bytes=1), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert list(batch.rows) == [row(number, number) for number in range(3)]


def test_a_part_that_is_read_again_leaves_nothing_of_its_first_reading() -> None:
    async def gathering() -> Batch:
        gather = Gather(HOUR, dialect=DIALECT, held=Held(), spill_path=spills(Path("/nowhere")))
        first, second = HOUR.halves()
        gather.begin(HOUR)
        await gather.add([row(1, 1), row(2, 2)], [Reject(reason="x", raw=b"1")])
        gather.begin(HOUR)
        await gather.add([row(2, 2), row(3, 3000)], [])
        gather.begin(first)
        await gather.add([row(4, 4), row(5, 3000)], [])
        gather.begin(second)
        await gather.add([row(6, 3000), row(4, 4)], [])
        return await gather.batch()

    batch = anyio.run(gathering)
    assert list(batch.rows) == [row(4, 4), row(6, 3000)]
    assert batch.rejects == []


def test_a_key_that_stands_in_two_halves_stays_once() -> None:
    async def gathering() -> Batch:
        gather = Gather(HOUR, dialect=DIALECT, held=Held(), spill_path=spills(Path("/nowhere")))
        first, second = HOUR.halves()
        gather.begin(first)
        await gather.add([row(1, 10, version=1), row(2, 11)], [])
        gather.begin(second)
        await gather.add([row(1, 2000, version=2)], [])
        return await gather.batch()

    batch = anyio.run(gathering)
    assert list(batch.rows) == [row(2, 11), row(1, 2000, version=2)]
    assert (batch.records, batch.duplicates) == (2, 1)


def test_what_is_dropped_is_counted() -> None:
    batch = gathered([[row(1, 1), row(1, 1), row(2, -1), row(3, 3600)]])
    assert (batch.records, batch.duplicates, batch.outside) == (1, 1, 2)


def test_the_bound_is_free_again_when_a_window_is_given_up() -> None:
    held = Held()

    async def gathering() -> None:
        gather = Gather(HOUR, dialect=DIALECT, held=held, spill_path=spills(Path("/nowhere")))
        gather.begin(HOUR)
        await gather.add([row(1, 1)], [])
        assert held.bytes > 0
        gather.discard()

    anyio.run(gathering)
    assert held.bytes == 0


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), max_size=60))
def test_equal_hashes_are_found(values: list[int]) -> None:
    from array import array

    assert _equal_ones(array("q", values)) == {value for value in values if values.count(value) > 1}
