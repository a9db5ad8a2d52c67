"""pages: walks are united until what came is all of it, and not before."""

import random
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dialects import Page, Row
from harvester.pages.union import Seam, Union, shortest_cut
from tests.test_pages import evenly

MOST = 100


def united(list_at: Callable[[int, int], list[Row]], cap: int, *, counted: set[int] | None = None) -> Union:
    """`list_at` is what the source holds at a request: its offset and how many are asked for."""
    union = Union(counted)
    for _ in range(MOST):
        union.begin()
        most = union.first_page
        while True:
            size = min(cap, most or cap)
            rows = list_at(union.position, size)
            page = Page(rows=rows[union.position : union.position + size])
            most = None
            if union.is_end(page):
                break
            union.take(page)
        if union.end():
            return union
    return union


@given(count=st.integers(0, 40), cap=st.integers(2, 12), seed=st.integers(0, 99))
def test_whatever_order_each_page_has_a_union_that_counts_is_all(count: int, cap: int, seed: int) -> None:
    rng, rows = random.Random(seed), evenly(count)
    union = united(lambda offset, size: rng.sample(rows, count), cap)
    assert union.walks == MOST or set(union.came) == {hash(row[1]) for row in rows}


def test_two_walks_of_few_pages_prove_rows_that_stand_still() -> None:
    union = united(lambda offset, size: evenly(45), 10)
    assert union.walks == 2


def test_an_empty_page_at_first_is_all() -> None:
    assert united(lambda offset, size: [], 10).walks == 1


@given(count=st.integers(2, 40), cap=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_record_that_left_does_not_stand_for_one_that_has_not_come(count: int, cap: int, seed: int) -> None:
    """One leaves before each request with the chance of one in ten, and never comes back."""
    rng, rows = random.Random(seed), evenly(count)

    def list_at(offset: int, size: int) -> list[Row]:
        if rows and rng.random() < 0.1:
            rows.pop(rng.randrange(len(rows)))
        return rows

    union = united(list_at, cap)
    assert union.came.keys() >= {hash(row[1]) for row in rows}


@pytest.mark.parametrize(("cap", "walks"), [(10, 4), (30, 3), (1000, 3)])
def test_records_that_stand_twice_need_walks_that_are_cut_otherwise(cap: int, walks: int) -> None:
    rows = evenly(60)
    twice = [*rows[:30], rows[3], *rows[30:], rows[50]]
    union = united(lambda offset, size: twice, cap)
    assert union.walks == walks
    assert set(union.came) == {hash(row[1]) for row in rows}


@pytest.mark.parametrize("limit", [3, 5])
def test_a_copy_is_a_position_where_what_it_pushed_away_stands_behind_the_page(limit: int) -> None:
    rows = evenly(12)
    twice = [row for row in rows for _ in range(2)]
    union = united(lambda offset, size: twice, limit)
    assert union.trusts_copies
    assert set(union.came) == {hash(row[1]) for row in rows}
    union = Union()
    union.take(Page(rows=[rows[0], rows[1], rows[1]]))
    union.take(Page(rows=[rows[2], rows[3]]))
    assert not union.trusts_copies
    assert union.position == 4


@given(
    count=st.integers(3, 60), cap=st.integers(2, 20), place=st.integers(0, 59), ties=st.integers(2, 9),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_no_row_hides_among_others_that_change_places_beside_records_that_stand_twice(
    count: int, cap: int, place: int, ties: int, seed: int
) -> None:
    rng, rows = random.Random(seed), evenly(count)
    twice = [*rows, rows[0]]

    def list_at(offset: int, size: int) -> list[Row]:
        some = twice[place : place + ties]
        return [*twice[:place], *rng.sample(some, len(some)), *twice[place + ties :]]

    union = united(list_at, cap)
    assert union.walks == MOST or set(union.came) == {hash(row[1]) for row in rows}


@given(
    count=st.integers(3, 60), cap=st.integers(3, 20), share=st.sampled_from([0.1, 0.3, 0.5]),
    seed=st.integers(0, 999), always_first=st.booleans(),
)  # fmt: skip
def test_no_row_hides_behind_pages_that_come_the_other_way_round(
    count: int, cap: int, share: float, seed: int, always_first: bool
) -> None:
    """A request comes turned round always or never; the first page always, in half of the cases."""
    rows = evenly(count)

    def list_at(offset: int, size: int) -> list[Row]:
        is_turned = random.Random(f"{seed} {offset} {size}").random() < share
        return rows[::-1] if is_turned or (always_first and offset == 0) else rows

    union = united(list_at, cap)
    assert union.walks == MOST or set(union.came) == {hash(row[1]) for row in rows}


seams = st.lists(st.integers(1, 30), min_size=0, max_size=6, unique=True).map(
    lambda places: [(place, place + place % 3) for place in sorted(places)]
)


@given(walks=st.lists(seams, min_size=1, max_size=4))
def test_the_shortest_stretch_that_each_walk_cuts_is_found(walks: list[list[Seam]]) -> None:
    cut = [
        length
        for length in range(2, 40)
        for start in range(40)
        if all(any(start < low and high < start + length for low, high in some) for some in walks)
    ]
    assert shortest_cut(walks) == min(cut, default=inf)
