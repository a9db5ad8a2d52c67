"""pages: every record of a window is handed on, whatever the server does between two pages."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester import dialects, events
from harvester.dialects import Ask, Page, Reject, Row
from harvester.errors import ContractBroken, Moved, Rejected
from harvester.pages import Pages, Served, Verdict, Walk
from harvester.records import Batch, Gather, Held
from harvester.transport import Layer
from harvester.windows import Window

DIALECT = dialects.load("interactions").select()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = Window(start=NOON, end=NOON + timedelta(hours=1))
MS = timedelta(milliseconds=1)


def row(number: int, moment: datetime, version: str = "2024-01-01T12:00:00.000Z") -> Row:
    key = f"{number:024x}"
    return (moment, key, version, f'{{"_id":"{key}","v":"{version}"}}'.encode())


def evenly(count: int, window: Window = HOUR) -> list[Row]:
    step = (window.end - window.start) / max(count, 1)
    return [row(i, window.start + i * step // MS * MS) for i in range(count)]


@dataclass
class FakeServer:
    """Answers like the Reporting API over a list of rows; each switch is one way to misbehave."""

    rows: list[Row]
    cap: int | None = None
    includes_end: bool = True
    cuts_to_seconds: bool = False
    order: Callable[[list[Row]], list[Row]] = lambda rows: sorted(rows, key=lambda r: r[1])
    before: Callable[["FakeServer", Ask, int], None] = lambda server, ask, number: None
    spoil: Callable[[list[Row], Ask], list[Row]] = lambda rows, ask: rows
    rejects: list[Reject] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)

    async def send(self, ask: Ask, /) -> Page:
        self.before(self, ask, len(self.asks))
        self.asks.append(ask)

        def cut(moment: datetime) -> datetime:
            return moment.replace(microsecond=0) if self.cuts_to_seconds else moment

        inside = [
            r
            for r in self.rows
            if ask.start <= cut(r[0])
            and (cut(r[0]) < ask.end or (self.includes_end and cut(r[0]) == ask.end))
        ]
        size = min(ask.limit, self.cap or ask.limit)
        page = self.order(inside)[ask.offset : ask.offset + size]
        return Page(rows=self.spoil(page, ask), rejects=list(self.rejects))


def read(
    server: Layer[Ask, Page],
    *,
    window: Window = HOUR,
    limit: int = 10,
    served: Served | None = None,
    heard: list[events.Event] | None = None,
) -> Batch:
    async def reading() -> Batch:
        gather = Gather(window, dialect=DIALECT, held=Held(), spill_path=lambda: Path("/nowhere"))
        emit = heard.append if heard is not None else events.nobody
        pages = Pages(server, dialect=DIALECT, served=served or Served(limit=limit), emit=emit)
        await pages.read(window, gather)
        return await gather.batch()

    return anyio.run(reading)


def inside(rows: list[Row], window: Window = HOUR) -> list[Row]:
    newest = {r[1]: r for r in rows if window.contains(r[0])}
    return sorted(newest.values(), key=lambda r: (r[0], r[1]))


moments = st.integers(-3000, 3_603_000).map(lambda ms: NOON + ms * MS)


@given(
    times=st.lists(moments, max_size=60),
    cap=st.none() | st.integers(1, 12),
    limit=st.integers(1, 15),
    includes_end=st.booleans(),
    cuts_to_seconds=st.booleans(),
)
def test_a_window_is_read_whole_whatever_the_ends_the_cap_and_the_page_size(
    times: list[datetime], cap: int | None, limit: int, includes_end: bool, cuts_to_seconds: bool
) -> None:
    rows = [row(i, t) for i, t in enumerate(times)]
    server = FakeServer(rows, cap=cap, includes_end=includes_end, cuts_to_seconds=cuts_to_seconds)
    assert list(read(server, limit=limit).rows) == inside(rows)


@given(count=st.integers(0, 45), cap=st.integers(1, 9), place=st.integers(0, 8), seed=st.integers(0, 99))
def test_a_row_that_stands_twice_in_a_page_hides_no_other(
    count: int, cap: int, place: int, seed: int
) -> None:
    rows = evenly(count)
    rng = random.Random(seed)

    def double(page: list[Row], ask: Ask) -> list[Row]:
        return [*page[:place], rng.choice(page), *page[place:]] if page else page

    assert list(read(FakeServer(rows, cap=cap, spoil=double)).rows) == rows


def test_a_short_page_is_no_end_where_no_page_has_come_whole() -> None:
    server = FakeServer(evenly(23), cap=7)
    assert read(server, limit=1000).records == 23


def test_a_short_page_is_no_end_where_longer_ones_have_come() -> None:
    """The cap differs from window to window, and is no round number."""
    served = Served(limit=1000)
    assert read(FakeServer(evenly(1000)), limit=1000, served=served).records == 1000
    server = FakeServer(evenly(438), cap=437)
    assert read(server, limit=1000, served=served).records == 438
    assert [ask.offset for ask in server.asks] == [0, 437, 435, 438, 436]


def test_a_short_window_is_proven_by_two_more_requests() -> None:
    server = FakeServer(evenly(17))
    assert read(server, limit=100).records == 17
    assert [ask.offset for ask in server.asks] == [0, 17, 15]


def test_an_empty_window_is_proven_by_its_only_page() -> None:
    server = FakeServer([])
    assert read(server).records == 0
    assert len(server.asks) == 1


def test_an_empty_page_where_the_anchor_must_stand_is_no_end() -> None:
    """A server that answers nothing past a depth would otherwise cut every large window without a word."""
    rows = evenly(40)
    server = FakeServer(rows, cap=10, spoil=lambda page, ask: [] if ask.offset >= 15 else page)
    assert list(read(server).rows) == rows


def test_the_second_page_begins_with_the_last_records_of_the_first() -> None:
    server = FakeServer(evenly(25))
    read(server)
    assert [ask.offset for ask in server.asks] == [0, 8, 16, 25, 23]


@given(count=st.integers(11, 60), at=st.integers(1, 6), victim=st.integers(0, 59), seed=st.integers(0, 9))
def test_rows_that_are_deleted_while_they_are_paged_hide_no_other(
    count: int, at: int, victim: int, seed: int
) -> None:
    rows = evenly(count)

    def delete(server: FakeServer, ask: Ask, number: int) -> None:
        if number == at:
            server.rows = [r for i, r in enumerate(rows) if i != victim]

    server = FakeServer(list(rows), before=delete)
    got = set(read(server).rows)
    assert got >= set(inside(server.rows))
    assert got <= set(rows)


@given(count=st.integers(11, 60), at=st.integers(1, 6), place=st.integers(0, 59))
def test_rows_that_are_inserted_while_they_are_paged_hide_no_other(count: int, at: int, place: int) -> None:
    rows = evenly(count + 1)
    late = rows[min(place, count)]

    def insert(server: FakeServer, ask: Ask, number: int) -> None:
        server.rows = [r for r in rows if r != late] if number < at else rows

    got = set(read(FakeServer([], before=insert)).rows)
    assert got >= set(rows) - {late}


def test_moved_rows_are_read_again_and_told() -> None:
    rows = evenly(30)

    def delete(server: FakeServer, ask: Ask, number: int) -> None:
        if number == 1:
            server.rows = rows[1:]

    heard: list[events.Event] = []
    got = read(FakeServer(list(rows), before=delete), heard=heard)
    assert list(got.rows) == rows[1:]
    assert heard == [events.RowsMoved(start=HOUR.start, end=HOUR.end)]


def test_a_server_that_ignores_the_offset_is_read_by_halves() -> None:
    rows = evenly(45)
    served = Served(limit=10)
    server = FakeServer(rows, spoil=lambda page, ask: sorted(inside_of(rows, ask), key=lambda r: r[1])[:10])
    assert list(read(server, served=served).rows) == rows
    assert served.offset_ignored


def inside_of(rows: list[Row], ask: Ask) -> list[Row]:
    return [r for r in rows if ask.start <= r[0] <= ask.end]


def test_a_repeated_page_that_no_smaller_window_cures_breaks_the_contract() -> None:
    rows = [row(i, NOON) for i in range(45)]
    server = FakeServer(rows, spoil=lambda page, ask: sorted(inside_of(rows, ask), key=lambda r: r[1])[:10])
    with pytest.raises(ContractBroken, match="same page"):
        read(server)


@pytest.mark.parametrize("seed", range(5))
def test_ties_in_another_order_on_each_call_are_united_until_the_count_is_reached(seed: int) -> None:
    rng = random.Random(seed)
    rows = sorted(
        [row(i, NOON + (7 if i < 30 else i) * 1000 * MS) for i in range(60)], key=lambda r: (r[0], r[1])
    )

    def shuffled(some: list[Row]) -> list[Row]:
        return sorted(some, key=lambda r: (r[0], rng.random()))

    server = FakeServer(rows, order=shuffled)
    assert list(read(server).rows) == rows


def test_rows_that_never_keep_still_are_told_and_not_passed_off_as_whole() -> None:
    def renew(server: FakeServer, ask: Ask, number: int) -> None:
        server.rows = [row(number * 1000 + i, NOON) for i in range(25)]

    with pytest.raises(Moved, match="run again later"):
        read(FakeServer([], before=renew))


def test_a_page_size_that_is_refused_is_halved_and_remembered() -> None:
    def refuse(server: FakeServer, ask: Ask, number: int) -> None:
        if ask.limit > 300:
            raise Rejected("limit too large", status_code=400)

    served = Served(limit=1000)
    assert read(FakeServer(evenly(700), before=refuse), served=served).records == 700
    assert served.limit == 250


def test_an_offset_that_is_refused_past_a_depth_leads_to_smaller_windows() -> None:
    def refuse(server: FakeServer, ask: Ask, number: int) -> None:
        if ask.offset > 20:
            raise Rejected("too deep", status_code=400)

    rows = evenly(100)
    heard: list[events.Event] = []
    assert list(read(FakeServer(rows, before=refuse), heard=heard).rows) == rows
    assert heard[0] == events.WindowSplit(start=HOUR.start, end=HOUR.end, reason="too deep")
    assert not [event for event in heard if isinstance(event, events.RowsMoved)]  # nothing moved


@pytest.mark.parametrize("most", [1000, 300, 1])
def test_a_range_that_is_refused_leaves_no_small_limit_behind(most: int) -> None:
    """Pages of one record show no order and cannot overlap: the limit is only as small as it has to be."""

    def refuse(server: FakeServer, ask: Ask, number: int) -> None:
        if ask.end - ask.start > timedelta(minutes=20) or ask.limit > most:
            raise Rejected("too much", status_code=400)

    served = Served(limit=1000)
    rows = evenly(100)
    assert list(read(FakeServer(rows, before=refuse), served=served).rows) == rows
    assert served.limit == {1000: 1000, 300: 250, 1: 1}[most]


def test_a_refusal_that_nothing_cures_breaks_the_contract_in_few_requests() -> None:
    def refuse(server: FakeServer, ask: Ask, number: int) -> None:
        server.asks.append(ask)
        raise Rejected("no", status_code=400)

    server = FakeServer([], before=refuse)
    with pytest.raises(ContractBroken):
        read(server, limit=1000)
    assert len(server.asks) < 40


def test_a_first_record_that_is_damaged_says_nothing_of_key_and_date() -> None:
    """Damage on the way strikes a page of one record as well, and then all that came so far."""
    server = FakeServer([], rejects=[Reject(reason="no UTF-8", raw=b"\xff", is_damaged=True)])
    assert len(read(server).rejects) == 1


def test_records_without_key_or_date_are_a_broken_contract_if_none_ever_had_them() -> None:
    server = FakeServer([], rejects=[Reject(reason="no _id", raw=b"{}")])
    with pytest.raises(ContractBroken, match="declared key and date"):
        read(server)


def test_a_record_without_key_among_good_ones_costs_no_other_record() -> None:
    rows = evenly(45)
    bad = Reject(reason="no _id", raw=b"{}")
    batch = read(FakeServer(rows, rejects=[bad]))
    assert list(batch.rows) == rows
    assert batch.rejects == [bad]
    assert batch.error is not None


def test_a_walk_asks_a_second_wider_on_both_sides() -> None:
    ask = Walk(HOUR, widen=timedelta(seconds=1), served=Served(limit=5)).ask()
    assert (ask.start, ask.end) == (HOUR.start - timedelta(seconds=1), HOUR.end + timedelta(seconds=1))


def test_a_page_of_nothing_is_the_end_of_an_empty_window() -> None:
    walk = Walk(HOUR, widen=timedelta(0), served=Served(limit=5))
    assert walk.take(Page(rows=[], rejects=[])) == (Verdict.END, [])


def test_a_walk_keeps_nothing_of_a_page_that_it_handed_on() -> None:
    walk = Walk(HOUR, widen=timedelta(seconds=1), served=Served(limit=5, whole_page=5))
    body = bytearray(b"{}")
    verdict, fresh = walk.take(Page(rows=[(*one[:3], memoryview(body)) for one in evenly(5)]))
    assert (verdict, len(fresh)) == (Verdict.MORE, 5)
    del fresh
    body.clear()  # BufferError where a view of it is left


def inside_of_truth(batch: Batch, rows: list[Row]) -> None:
    assert list(batch.rows) == sorted(set(rows), key=lambda r: (r[0], r[1]))


@given(count=st.integers(0, 25), times=st.integers(2, 4), limit=st.integers(2, 9))
def test_records_that_stand_several_times_in_the_source_hide_no_other(
    count: int, times: int, limit: int
) -> None:
    rows = evenly(count)
    server = FakeServer([r for r in rows for _ in range(times)])
    inside_of_truth(read(server, limit=limit), rows)


def test_a_page_of_one_instant_with_copies_in_it_is_not_asked_for_again_where_it_was() -> None:
    """All of its records are the overlap, so it would come again and look as if offsets were ignored."""
    rows = [row(i, NOON) for i in range(9)]
    server = FakeServer([r for r in rows for _ in range(2)])
    served = Served(limit=6)
    inside_of_truth(read(server, served=served), rows)
    first, second = (ask.offset for ask in server.asks[:2])
    assert first < second
    assert not served.offset_ignored
    assert len(server.asks) < 40


@given(seed=st.integers(0, 200), cap=st.integers(3, 12))
def test_doubles_in_some_pages_do_not_pass_for_a_larger_page(seed: int, cap: int) -> None:
    """The server caps at 13 and now and then sends a row twice: a page of 14 is no page size."""
    rng = random.Random(seed)
    served = Served(limit=100)

    def double(page: list[Row], ask: Ask) -> list[Row]:
        return [*page, rng.choice(page)] if page and rng.random() < 0.3 else page

    for _ in range(6):
        rows = evenly(rng.randrange(40))
        inside_of_truth(read(FakeServer(rows, cap=cap, spoil=double), served=served), rows)


@given(
    seed=st.integers(0, 300), count=st.integers(0, 40), limit=st.integers(2, 12), cluster=st.integers(0, 25)
)
@example(seed=200, count=6, limit=2, cluster=2)
def test_whatever_order_each_call_has_all_comes_or_the_window_is_told_to_have_failed(
    seed: int, count: int, limit: int, cluster: int
) -> None:
    rng = random.Random(seed)
    rows = evenly(count) + [row(1000 + i, NOON + 7 * 1000 * MS) for i in range(cluster)]
    server = FakeServer(rows, order=lambda some: rng.sample(some, len(some)))
    try:
        batch = read(server, limit=limit)
    except Moved:
        return
    inside_of_truth(batch, rows)


def test_a_record_that_stands_far_from_its_double_is_told_from_one_that_slipped_away() -> None:
    rows = evenly(40)
    far = [*rows[:30], rows[3], *rows[30:]]
    server = FakeServer(far, order=lambda some: some)
    inside_of_truth(read(server), rows)


def test_a_page_that_came_the_other_way_round_hides_no_row_that_another_page_left_out() -> None:
    """Thirteen rows in pages of seven: the first page from the end, and the second shows the same seven."""

    def turn_round(server: FakeServer, ask: Ask, number: int) -> None:
        step = -1 if ask.offset == 0 else 1
        server.order = lambda rows: sorted(rows, key=lambda r: r[1])[::step]

    rows = evenly(13)
    assert list(read(FakeServer(rows, cap=7, before=turn_round)).rows) == inside(rows)


def test_an_instant_of_which_pages_of_one_size_always_leave_out_the_same_is_read_in_other_sizes() -> None:
    def turn_round(server: FakeServer, ask: Ask, number: int) -> None:
        step = -1 if (ask.offset, ask.limit) == (0, 7) else 1
        server.order = lambda rows: sorted(rows, key=lambda r: r[1])[::step]

    rows = [row(i, NOON + 7 * 1000 * MS) for i in range(13)]
    assert list(read(FakeServer(rows, before=turn_round), limit=7).rows) == inside(rows)


def test_copies_of_one_record_on_all_pages_do_not_pass_for_all_there_is() -> None:
    """Two records, one held twice, in pages of two that show no order: of three positions one is another."""

    def shuffle(server: FakeServer, ask: Ask, number: int) -> None:
        server.order = lambda rows: sorted(rows, key=lambda r: r[1], reverse=ask.offset > 0)

    twice, once = row(1, NOON + 600 * 1000 * MS), row(2, NOON + 2400 * 1000 * MS)
    assert list(read(FakeServer([twice, twice, once], cap=2, before=shuffle)).rows) == [twice, once]


def test_a_server_without_offsets_that_cuts_each_range_to_another_size_is_read_record_by_record() -> None:
    """Two sizes: where all of a window is cut to five, its halves may be cut to four and hold one."""
    served, rows = Served(limit=100), evenly(60)

    def cut(page: list[Row], ask: Ask) -> list[Row]:
        return page[: 4 + ask.end.microsecond // 1000 % 2]

    server = FakeServer(rows, spoil=cut)

    class Deaf:
        async def send(self, ask: Ask, /) -> Page:
            return await server.send(replace(ask, offset=0))

    assert list(read(Deaf(), served=served).rows) == inside(rows)
    assert served.is_cap_moving


def test_the_size_of_the_cut_is_tried_once_for_pages_of_one_size_where_offsets_are_refused() -> None:
    """Twelve windows of three records: three requests each, and twelve more altogether."""

    def refuse(server: FakeServer, ask: Ask, number: int) -> None:
        if ask.offset:
            raise Rejected("no offset", status_code=400)

    served, asked = Served(limit=100), []
    read(FakeServer(evenly(20), before=refuse), served=served)
    for hour in range(1, 9):
        window = Window(start=NOON + timedelta(hours=hour), end=NOON + timedelta(hours=hour + 1))
        server = FakeServer(evenly(9, window), before=refuse)
        assert list(read(server, window=window, served=served).rows) == evenly(9, window)
        asked.append(len(server.asks))
    assert max(asked) <= 7


def test_copies_beside_rows_of_other_windows_cost_no_walk_of_every_second() -> None:
    """Rows from around come whatever is asked for, a copy last: no page is in order, no half holds less."""
    around = [row(900 + i, NOON - timedelta(hours=i + 1)) for i in range(8)]
    server = FakeServer(evenly(3))
    server.order = lambda rows: [*around[:4], *sorted(rows), *around[4:], around[0]]
    assert list(read(server, limit=5).rows) == evenly(3)
    assert len(server.asks) < 2100


def test_a_window_that_answers_each_part_with_other_rows_ends_in_time() -> None:
    """The same rows for each range and nothing behind them: no half is ever read."""

    def echo(page: list[Row], ask: Ask) -> list[Row]:
        return evenly(5) if ask.offset == 0 else []

    server = FakeServer(evenly(5), spoil=echo)
    with pytest.raises(Moved, match="run again later"):
        read(server)
    assert len(server.asks) < 1000 + 6 * 200
