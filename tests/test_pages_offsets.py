"""pages: what is concluded of a server's offsets, and what is not."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import events
from harvester.dialects import Ask, Page, Row
from harvester.errors import Rejected
from harvester.pages import Pages, Served, Stretches, Unsorted, Verdict, Walk
from harvester.pages.asking import Asking
from harvester.pages.offsets import FAR_BEHIND, try_out
from harvester.pages.seek import Seek
from harvester.scheduler import Harvest
from harvester.transport import Layer
from harvester.windows import Span, Window
from tests.harvesting import World, live
from tests.test_pages import DIALECT, HOUR, FakeServer, evenly, inside, read, row
from tests.test_pages_adversary import sheaf_of

A, B, C, D = evenly(4)
STRETCH = Span(start=HOUR.start, end=HOUR.end)
Answers = Callable[[int], list[Row]]


def far_behind(answers: Answers, served: Served) -> int:
    """What is noted of a server that answers so at each offset; how many requests that took."""
    return tried(lambda ask: answers(ask.offset), served, lambda page: A in page.rows)


def tried(answers: Callable[[Ask], list[Row]], served: Served, knows: Callable[[Page], bool]) -> int:
    class Server:
        async def send(self, ask: Ask, /) -> Page:
            return Page(rows=answers(ask))

    def at(offset: int) -> Callable[[], Ask]:
        return lambda: Ask(start=HOUR.start, end=HOUR.end, limit=9, offset=offset, order_by=None)

    async def trying() -> int:
        return await try_out(at, knows, 2, HOUR, asking=Asking(Server(), served), served=served)

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


@pytest.mark.parametrize("rows", [[], [A], [A, B], [A, B, C, D], [A, A, A, B, C], [A, B, A, C, A]])
@pytest.mark.parametrize("back", ["not at all", "to the last row", "to the last page"])
def test_offsets_that_have_led_on_are_not_ignored_where_a_server_counts(rows: list[Row], back: str) -> None:
    """Also where it moves an offset back that leads over the end."""
    served = Served(limit=9, offset_works=True)

    def answers(ask: Ask) -> list[Row]:
        last = {"not at all": len(rows), "to the last row": len(rows) - 1}.get(back, len(rows) - ask.limit)
        first = max(0, min(ask.offset, last))
        return rows[first : first + ask.limit]

    assert tried(answers, served, lambda page: True) <= 5
    assert (served.offset_ignored, served.offset_works) == (False, True)


def test_offsets_that_have_led_on_are_ignored_by_now_where_all_of_them_bring_the_first_row() -> None:
    """The server is another one by now, and what sizes it cut pages to before says nothing of it."""
    served = Served(limit=9, offset_works=True, caps={1}, whole_page=1, steady=7, is_cap_moving=True)
    far_behind(lambda offset: [A, B], served)
    assert (served.offset_ignored, served.offset_works, served.has_changed) == (True, False, True)
    assert (served.caps, served.steady, served.is_cap_moving) == (None, 0, False)
    assert served.whole_page == 0


def test_offsets_that_never_led_on_leave_what_was_seen_of_sizes() -> None:
    served = Served(limit=9, caps={1, 2}, whole_page=3, steady=1)
    far_behind(lambda offset: [A, B], served)
    assert (served.offset_ignored, served.has_changed) == (True, False)
    assert (served.caps, served.whole_page, served.steady) == ({1, 2}, 3, 1)


@pytest.mark.parametrize("honest", range(13))
def test_one_answer_that_counts_leaves_offsets_that_have_led_on_in_use(honest: int) -> None:
    served, asked = Served(limit=9, offset_works=True), iter(range(99))
    rows = [A, B, C]
    far_behind(lambda offset: rows[offset:] if offset and next(asked) == honest else rows, served)
    assert (served.offset_ignored, served.offset_works) == (False, True)


class Turning:
    """Answers by time; offsets count until so many answers came, from then on none does."""

    def __init__(self, rows: list[Row], *, cap: int, counts: int) -> None:
        self._rows, self._cap, self._counts = rows, cap, counts

    async def send(self, ask: Ask, /) -> Page:
        self._counts -= 1
        rows = [one for one in self._rows if ask.start <= one[0] <= ask.end]
        rows.sort(key=lambda one: one[0] if ask.order_by == DIALECT.date_field else one[1])
        first = ask.offset if self._counts >= 0 else 0
        return Page(rows=rows[first : first + min(ask.limit, self._cap)])


drawn_rows = st.lists(st.integers(0, 1799), min_size=4, max_size=30, unique=True).map(
    lambda drawn: [
        row(n, HOUR.start + timedelta(seconds=4 * at, milliseconds=7)) for n, at in enumerate(drawn)
    ]
)
"""Of two hours, and no more of them in one second than a page holds."""


@given(rows=drawn_rows, cap=st.integers(3, 9), counts=st.integers(0, 40))
def test_windows_are_whole_where_offsets_stop_to_count_on_the_way(
    rows: list[Row], cap: int, counts: int
) -> None:
    served, server = Served(limit=100, offset_works=True), Turning(rows, cap=cap, counts=counts)
    first, second = (Window(start=at, end=at + timedelta(hours=1)) for at in (HOUR.start, HOUR.end))
    for window in (first, second):
        assert list(read(server, window=window, served=served).rows) == inside(rows, window)


@given(rows=drawn_rows, cap=st.integers(3, 9), counts=st.integers(0, 40))
def test_stretches_are_whole_where_offsets_stop_to_count_on_the_way(
    rows: list[Row], cap: int, counts: int
) -> None:
    served = Served(limit=100, order_kept=True, offset_works=True)
    got = stretch_of(Turning(rows, cap=cap, counts=counts), served)
    assert got is None or got == inside(rows)


@pytest.mark.parametrize("windows", [15, 35])
@pytest.mark.parametrize(
    "before",
    [{"order": "ignored"}, {"page_cap": 7}, {"page_cap": 1}, {"page_cap": 3, "least": 1, "per": "request"}],
    ids=["no order", "pages of seven", "pages of one", "pages of one to three"],
)
def test_a_run_is_exact_where_offsets_stop_to_count_in_its_midst(
    tmp_path: Path, before: dict[str, object], windows: int
) -> None:
    async def story(world: World) -> None:
        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() >= windows)
            world.simulator.set_faults([{"offset_ignored": True}])

        outcome = await world.run(with_harvest=stop, page_size=20, transport={"concurrency": 1})
        assert (outcome.exit_code, outcome.error) == (0, None)
        assert not world.difference()

    live(tmp_path, story, records=150, cluster=1, faults=(before,))


def stretch_of(server: Layer[Ask, Page], served: Served) -> list[Row] | None:
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


@pytest.mark.parametrize(("follows", "caps"), [([], None), ([C], {1})])
def test_a_record_that_comes_again_from_a_wider_range_does_not_follow_itself(
    follows: list[Row], caps: set[int] | None
) -> None:
    """Else pages would be taken for cut to one, and no record that is alone would be believed any more."""
    served = Served(limit=20, order_kept=True, offset_ignored=True)
    later = HOUR.end + timedelta(hours=8)
    behind = row(9, later - timedelta(hours=1))
    seeking = Seek(STRETCH, widen=timedelta(seconds=1), served=served, order_by="", horizon=later)
    for rows in ([B], [B, *follows, behind]):
        seeking.ask()
        seeking.take(Page(rows=rows))
    assert served.caps == caps


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


@pytest.mark.parametrize("pages", [[[A], [C], [C, D], [D]], [[A], [C, C], [C], [C, D], [D]]])
def test_a_record_that_came_twice_and_alone_shows_no_order(pages: list[list[Row]]) -> None:
    """The second request was answered from the other end: of four records in order one never comes, also
    where another one is held twice and one answer shows both."""
    walk = Walk(HOUR, widen=timedelta(seconds=1), served=Served(limit=9, whole_page=9, caps={1}))
    verdict = Verdict.MORE
    while verdict is Verdict.MORE:
        verdict, _ = walk.take(Page(rows=[*pages, []][walk.offset]))
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
