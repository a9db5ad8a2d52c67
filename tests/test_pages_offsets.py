"""pages: what is concluded of a server's offsets, and what is not."""

from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from harvester import events
from harvester.dialects import Ask, Page, Row
from harvester.errors import Rejected
from harvester.pages import Pages, Served, Stretches, Unsorted, Verdict, Walk
from harvester.pages.asking import Asking
from harvester.pages.offsets import FAR_BEHIND, try_out
from harvester.windows import Span
from tests.test_pages import DIALECT, HOUR, FakeServer, evenly, inside
from tests.test_pages_adversary import sheaf_of

A, B, C, D = evenly(4)
STRETCH = Span(start=HOUR.start, end=HOUR.end)
Answers = Callable[[int], list[Row]]


def far_behind(answers: Answers, served: Served) -> int:
    """What is noted of a server that answers so at each offset; how many requests that took."""

    class Server:
        async def send(self, ask: Ask, /) -> Page:
            return Page(rows=answers(ask.offset))

    def at(offset: int) -> Callable[[], Ask]:
        return lambda: Ask(start=HOUR.start, end=HOUR.end, limit=9, offset=offset, order_by=None)

    async def trying() -> int:
        return await try_out(
            at, lambda page: A in page.rows, 2, HOUR, asking=Asking(Server(), served), served=served
        )

    return anyio.run(trying)


def refused_from(depth: int, rows: list[Row]) -> Answers:
    def answers(offset: int) -> list[Row]:
        if offset >= depth:
            raise Rejected("too deep", status_code=400)
        return rows

    return answers


@pytest.mark.parametrize(
    ("answers", "asked", "ignored", "works"),
    [
        (lambda offset: [A, B], 1, True, False),
        (lambda offset: [], 1, False, True),
        (lambda offset: [C, D], 1, False, False),
        (refused_from(2000, [A]), 2, True, False),
        (refused_from(2000, []), 2, False, True),
        (refused_from(20, [A]), 3, False, False),
    ],
    ids=[
        "the first rows",
        "nothing",
        "other rows",
        "refused, then the first",
        "refused, then nothing",
        "refused",
    ],
)
def test_offsets_are_ignored_where_the_first_rows_come_from_far_behind_all(
    answers: Answers, asked: int, ignored: bool, works: bool
) -> None:
    served = Served(limit=9, pages=1)
    assert far_behind(answers, served) == asked <= len(FAR_BEHIND)
    assert (served.offset_ignored, served.offset_works) == (ignored, works)


@pytest.mark.parametrize(("rows", "is_moving"), [([A, B], False), ([A], True), ([A, B, C], True)])
def test_a_page_that_comes_again_in_another_size_shows_that_the_cut_moves(
    rows: list[Row], is_moving: bool
) -> None:
    """Else the larger one would tell that the smaller ones are no larger for not having been cut."""
    served = Served(limit=9)
    far_behind(lambda offset: rows, served)
    assert (served.offset_ignored, served.is_cap_moving) == (True, is_moving)


def test_offsets_that_have_led_on_are_not_ignored() -> None:
    served = Served(limit=9, offset_works=True)
    assert far_behind(lambda offset: [A], served) == 0
    assert not served.offset_ignored


def stretch_of(server: FakeServer, served: Served) -> list[Row] | None:
    """Its rows, by time; None where it has to be walked."""

    async def reading() -> list[Row] | None:
        pages = Pages(server, dialect=DIALECT, served=served, emit=events.nobody)
        sheaf = sheaf_of(STRETCH)
        try:
            await Stretches(server, pages, dialect=DIALECT, served=served, emit=events.nobody).read(
                STRETCH, sheaf
            )
        except Unsorted:
            return None
        told = await sheaf.batches()
        return [row for one in told if not isinstance(one, tuple) for row in one.rows]

    return anyio.run(reading)


@pytest.mark.parametrize("times", [2, 3])
def test_a_record_that_is_held_twice_and_alone_on_its_page_is_not_all_there_is(times: int) -> None:
    """Its copy comes for the next offset, as it would where offsets are ignored."""
    rows, served = evenly(12), Served(limit=100, order_kept=True, whole_page=50)
    server = FakeServer([row for row in rows for _ in range(times if row == rows[0] else 1)], cap=1)
    server.order = sorted
    assert stretch_of(server, served) == inside(rows)
    assert not served.offset_ignored


def test_a_page_from_behind_the_last_row_that_came_the_other_way_round_hides_nothing() -> None:
    """The rows of the last instant came first, and stand in order for their being ties."""
    ties = [(HOUR.start + timedelta(minutes=50), *row[1:]) for row in evenly(8)[4:]]
    rows, served = [*evenly(4), *ties], Served(limit=100, order_kept=True, whole_page=50)

    def turn_round(server: FakeServer, ask: Ask, number: int) -> None:
        is_behind = ask.offset == 1 and ask.order_by is not None
        server.order = lambda some: sorted(some)[::-1] if is_behind else sorted(some)
        server.cap = 3 if is_behind else 1

    got = stretch_of(FakeServer(rows, before=turn_round), served)
    assert got is None or set(got) == set(rows)


def test_a_row_that_came_and_is_missing_between_others_shows_another_order() -> None:
    """Each page of one or two rows ascends for itself."""
    rows, served = evenly(5), Served(limit=100, order_kept=True, whole_page=50)
    shown = iter([[rows[0]], [rows[0], rows[1]], [rows[0], rows[3]], [rows[0], rows[3]], [rows[4]]])

    def spoil(page: list[Row], ask: Ask) -> list[Row]:
        return next(shown, []) if ask.order_by is not None else page

    assert stretch_of(FakeServer(rows, spoil=spoil), served) is None
    assert (served.moved, served.order_kept) == (1, True)  # once, it may as well have been deleted


def test_a_record_that_came_twice_and_alone_shows_no_order() -> None:
    """The second request was answered from the other end: of four records in order one never comes."""
    walk = Walk(HOUR, widen=timedelta(seconds=1), served=Served(limit=9, whole_page=9, caps={1}))
    pages = {0: [A], 1: [C], 2: [C, D], 3: [D], 4: []}
    verdict = Verdict.MORE
    while verdict is Verdict.MORE:
        verdict, _ = walk.take(Page(rows=pages[walk.offset]))
    assert (verdict, walk.is_ordered) == (Verdict.DOUBLED, False)


def test_what_stands_behind_the_overlap_when_it_is_seen_again_is_no_end() -> None:
    """A row left in front as it was asked what stands behind, and another came before the overlap did."""
    walk = Walk(HOUR, widen=timedelta(seconds=1), served=Served(limit=9))
    verdicts = [walk.take(Page(rows=rows))[0] for rows in ([A, B, C], [], [B, C, D])]
    assert verdicts == [Verdict.MORE, Verdict.MORE, Verdict.MOVED]


def test_by_time_neither() -> None:
    rows, served = evenly(4), Served(limit=100, order_kept=True, whole_page=50)
    hidden = iter([rows[:3], [], rows[1:]])
    server = FakeServer(rows, order=sorted, spoil=lambda page, ask: next(hidden, page))
    assert stretch_of(server, served) == inside(rows)
