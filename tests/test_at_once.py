"""pages without offsets: what a page has to show before it is taken for all of a window."""

from collections.abc import Iterator, Set
from datetime import timedelta

import anyio
import pytest

from harvester.dialects import Ask, Page, Reject, Row
from harvester.pages import Served
from harvester.pages.asking import Asking
from harvester.pages.at_once import TRIALS, AtOnce
from harvester.windows import Window
from tests.test_pages import DIALECT, HOUR, evenly

A, B, C, D, E, F = evenly(6)
WIDER = 3
"""So often is a larger page looked for."""
SURE = [[A, B, C, D], *[[A, B, C, D]] * TRIALS, [A, B], [C, D]]
"""A page that is whole: it comes again whenever it is tried, and halves hold just what it holds."""


class Nobody:
    """Takes what comes."""

    def begin(self, part: Window) -> None: ...

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None: ...


class Script:
    """Answers with these pages, one after another."""

    def __init__(self, pages: list[list[Row]]) -> None:
        self._pages: Iterator[list[Row]] = iter(pages)

    async def send(self, ask: Ask, /) -> Page:
        return Page(rows=next(self._pages))


def told(
    pages: list[list[Row]], served: Served, window: Window = HOUR, came: Set[int] = frozenset()
) -> tuple[int, bool]:
    """How many pages were asked for, and whether the window counts as whole."""
    reading = AtOnce(Asking(Script(pages), served), dialect=DIALECT, served=served)
    can_halve = (window.end - window.start) > timedelta(seconds=1)

    async def read() -> tuple[int, bool]:
        return await reading.read(window, Nobody(), can_halve=can_halve, came=came)

    return anyio.run(read)


def test_a_page_is_whole_that_comes_again_and_whose_halves_hold_just_what_it_holds() -> None:
    served = Served(limit=100)
    assert told(SURE, served) == (len(SURE), True)
    assert told([SURE[0], *SURE[-2:]], served) == (3, True)  # what was tried is not tried again


def test_a_page_that_lacks_what_came_for_the_part_before_is_not_whole_though_its_halves_agree() -> None:
    """A server cuts each page to another size, and pages of this one came whole often enough before."""
    before = {hash(row[1]) for row in (A, B, C, D, E)}
    assert told(SURE, Served(limit=100, steady=4), came=before) == (1, False)
    assert told([SURE[0], *SURE[-2:]], Served(limit=100, steady=4), came={hash(A[1])}) == (3, True)


@pytest.mark.parametrize("trial", [1, 2, TRIALS])
def test_a_page_that_comes_again_with_other_rows_is_not_whole_though_its_halves_agree(trial: int) -> None:
    """As many, so the size of the cut stays; the two that were left out would be missed for good."""
    served = Served(limit=100)
    pages = [page if n != trial else [C, D, E, F] for n, page in enumerate(SURE)]
    assert told(pages, served) == (1 + trial, False)
    assert not served.is_cap_moving
    assert not served.steady


@pytest.mark.parametrize("trial", [1, TRIALS])
def test_a_page_that_comes_again_in_another_size_shows_that_the_cut_moves(trial: int) -> None:
    served = Served(limit=100)
    pages = [page if n != trial else [A, B, C] for n, page in enumerate(SURE)]
    assert told(pages, served) == (1 + trial, False)
    assert served.is_cap_moving
    assert told([[A, B]], served) == (1, False)  # from now on nothing is believed that can be cut


@pytest.mark.parametrize(
    ("pages", "asked", "is_whole"),
    [
        ([[C], [], [], [C]], 4, True),
        ([[C], [A]], 2, False),
        ([[C], [], [F]], 3, False),
        ([[C], [], [], [D]], 4, False),
    ],
    ids=["alone", "one before it", "one behind it", "another in another order"],
)
def test_a_record_alone_is_whole_where_nothing_is_around_it(
    pages: list[list[Row]], asked: int, is_whole: bool
) -> None:
    assert told(pages, Served(limit=100, whole_page=50)) == (asked, is_whole)


def test_a_larger_page_for_another_offset_does_not_vouch_for_one_from_the_first_on() -> None:
    """A source that ignores offsets may cut each of them to another size: an instant of nine, of which six
    come for the first offset in any order, is not whole for eight having come for another one."""
    served, second = Served(limit=100), Window(start=HOUR.start, end=HOUR.start + timedelta(seconds=1))
    one, other = ((second.start, *row[1:]) for row in (A, B))
    served.note(Page(rows=[A, B, C, D]), offset=9)
    pages = [[one, other]] * (1 + WIDER + TRIALS)
    assert told([*pages, [other, one]], served, second) == (len(pages) + 1, False)
    served.note(Page(rows=[A, B, C, D]))
    assert told([[one, other], [other, one]], served, second) == (2, True)


def test_where_no_larger_page_was_seen_one_of_a_wider_range_shows_that_pages_are_not_cut_to_so_few() -> None:
    assert told([[C], [C], [A, C, F], [], [], [C]], Served(limit=100)) == (6, True)
    second = Window(start=HOUR.start, end=HOUR.start + timedelta(seconds=1))
    one, other = ((second.start, *row[1:]) for row in (A, B))
    pages = [[one, other], [one, other, C], *[[one, other]] * TRIALS, [other, one]]
    assert told(pages, Served(limit=100), second) == (len(pages), True)


def test_a_record_alone_has_to_come_again_where_the_server_has_changed_on_the_way() -> None:
    """It may cut pages to one still, as it did."""
    served = Served(limit=100, whole_page=50, has_changed=True)
    assert told([[C], *[[C]] * (TRIALS - 1), [C, D]], served) == (1 + TRIALS, False)
    served = Served(limit=100, whole_page=50, has_changed=True)
    assert told([[C], *[[C]] * TRIALS, [], [], [C]], served) == (TRIALS + 4, True)
    assert told([[C], [], [], [C]], served) == (4, True)  # what was tried is not tried again
