"""pages: what came at two positions, alone on its pages, is shown to stand at both, or is not believed."""

from itertools import count

import pytest

from harvester.dialects import Page, Row
from harvester.errors import Moved
from harvester.pages.copies import position, trials
from harvester.pages.union import Union
from tests.test_pages import FakeServer, evenly, inside, read


def united(pages: list[list[Row]], *, is_small: bool = False) -> Union:
    """After one walk of these pages."""
    union = Union(is_small=is_small)
    for rows in pages:
        union.take(Page(rows=rows))
    union.end()
    return union


@pytest.mark.parametrize("cap", [1, None])
def test_records_that_are_held_twice_cost_forty_requests_each_where_they_are_alone_on_their_pages(
    cap: int | None,
) -> None:
    rows = evenly(20)
    held = [row for row in rows for _ in range(2 if row in (rows[3], rows[16]) else 1)]
    server = FakeServer(held, cap=cap)

    def cut(page: list[Row], ask: object) -> list[Row]:
        """Before and behind the records that are held twice, and every third one."""
        ends = [n for n, row in enumerate(page) if n and (row in (rows[3], rows[16]) or n == 3)]
        after_long = page[:1] and page[0] in (rows[3], rows[16])
        return page[:1] if after_long else page[: min(ends, default=len(page))]

    server.spoil = cut
    assert list(read(server, limit=1000).rows) == inside(rows)
    walks = 8 * (len(held) + 1)  # the first one has overlaps
    assert len(server.asks) <= 2 * trials(2) + walks


@pytest.mark.parametrize("is_one_instant", [True, False])
@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize("rows", range(9, 15))
def test_rows_that_change_places_from_answer_to_answer_are_no_record_that_is_held_twice(
    rows: int, sources: int, is_one_instant: bool
) -> None:
    """Several sources answer in turn, each in an order of its own that it keeps. Where walks keep step with
    them, and nothing parts the two, the window is told to have failed."""
    some, numbers = evenly(rows), count()
    if is_one_instant:
        some[7] = (some[6][0], *some[7][1:])

    def order(there: list[Row]) -> list[Row]:
        there = sorted(there, key=lambda row: row[1])
        if next(numbers) % sources == 0 and some[6] in there and some[7] in there:
            at = there.index(some[6])
            there[at : at + 2] = [some[7], some[6]]
        return there

    server = FakeServer([*some, some[3]], cap=1, order=order)
    try:
        assert list(read(server, limit=1000).rows) == inside(some)
    except Moved:
        assert is_one_instant


def test_neither_is_one_that_came_from_both_positions_in_each_walk_by_chance() -> None:
    """Now and then a third one comes instead, but never the one that it hides."""
    some, asked = evenly(9), []

    def order(there: list[Row]) -> list[Row]:
        there = sorted(there, key=lambda row: row[1])
        asked.append(server.asks[-1].offset)
        if asked[-1] == 7:
            at = there.index(some[5 if asked.count(7) % 10 else 7])
            there[7], there[at] = there[at], there[7]
        return there

    server = FakeServer([*some, some[3]], cap=1, order=order)
    assert list(read(server, limit=1000).rows) == inside(some)
    assert asked.count(7) >= 10


def test_one_position_that_is_always_answered_from_the_other_end_hides_no_row() -> None:
    """The record came once from each end, and is as far from both."""
    rows = evenly(10)
    walk = [[row] for row in [*rows[:5], rows[4], *rows[6:]]]
    assert united(walk).doubled == {}
    assert united([*walk, [rows[9]]]).doubled != {}


def test_few_rows_and_rows_in_another_order_show_no_order_to_go_by() -> None:
    rows = evenly(10)
    assert united([[row] for row in (rows[0], rows[0], *rows[1:])]).doubled == {hash(rows[0][1]): (0, 1)}
    assert united([[row] for row in (rows[0], rows[0], *rows[1:7])]).doubled == {}
    assert united([[row] for row in (rows[0], rows[0], *rows[:0:-1])]).doubled == {}
    assert united([[row] for row in (rows[0], rows[0])], is_small=True).doubled != {}


@pytest.mark.parametrize(("times", "tried"), [(4, 1), (5, 0)])
def test_a_record_that_came_too_often_is_not_tried(times: int, tried: int) -> None:
    rows = evenly(10)
    assert len(united([[row] for row in (*[rows[0]] * times, *rows[1:])]).doubled) == tried


def test_a_record_of_which_one_answer_shows_both_is_not_tried() -> None:
    rows = evenly(10)
    union = united([[rows[0], rows[0], *rows[1:5]], rows[4:9], [rows[9]], [rows[9]]])
    assert union.doubled == {hash(rows[9][1]): (10, 11)}


def test_where_one_position_brought_another_record_walks_that_go_one_way_prove_nothing() -> None:
    rows, walks = evenly(3), []
    for is_doubted in (False, True):
        union = united([[rows[0], rows[1]], [rows[1], rows[2]]], is_small=True)
        if is_doubted:
            union.doubt()
        for _ in range(60):
            union.begin()
            for some in ([rows[0], rows[1]], [rows[1], rows[2]]):
                union.take(Page(rows=some))
            if union.end():
                break
        walks.append(union.walks)
    assert walks == [17, 61]


def test_each_position_is_asked_for_as_often_and_in_no_turn() -> None:
    asked = [position((5, 6), trial) for trial in range(trials(2))]
    assert asked.count(5) == asked.count(6) == 20
    assert all(asked[:20] != asked[shift : shift + 20] for shift in range(1, 20))
