"""probe's measurements against sources of a few lines each, for what the simulator's data cannot show."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import anyio
import pytest

from harvester.contract import Fact
from harvester.dialects import Ask, Dialect, Page, Request, Row
from harvester.probe import measures, place
from harvester.probe.asker import Asker, Noted
from harvester.probe.place import Place
from harvester.windows import Span
from tests.harvesting import START

Make = Callable[..., Dialect]
Comes = Callable[[datetime, datetime, datetime], bool]
"""Whether a record of a time comes where a range has this start and this end."""
MS, SECOND = timedelta(milliseconds=1), timedelta(seconds=1)
IN_SECONDS = ("[record]", '[time]\nprecision = "s"\n[record]')
SPAN = Span(start=START, end=START + timedelta(hours=1))


def rows(*after: timedelta) -> list[Row]:
    return [(START + one, f"{number:03}", "", b"{}") for number, one in enumerate(after)]


def minutes(*numbers: float) -> list[Row]:
    return rows(*(timedelta(minutes=number) for number in numbers))


class Source:
    """By key, whatever is asked; offsets are not known to it, and pages hold `cap` rows at most."""

    def __init__(self, rows: Sequence[Row], comes: Comes, cap: int) -> None:
        self.rows = list(rows)
        self._comes = comes
        self._cap = cap

    async def send(self, ask: tuple[Request, Ask], /) -> Page:
        request, asked = ask
        told = dict(request.query)
        start, end = (datetime.fromisoformat(told[name]) for name in ("from", "to"))
        found = [row for row in self.rows if self._comes(start, row[0], end)]
        return Page(rows=found[: min(self._cap, asked.limit)])


def asker(dialect: Dialect, rows: Sequence[Row], comes: Comes, cap: int = 1000) -> Asker:
    return Asker(Source(rows, comes, cap), dialect, Noted())


def ends_of(dialect: Dialect, rows: list[Row], comes: Comes, top: int = 1000) -> list[Fact]:
    here = Place(span=SPAN, rows=rows, items=len(rows), top=top)
    return anyio.run(measures.ends, asker(dialect, rows, comes, top), here)


INCLUSIVE: Comes = lambda start, at, end: start <= at <= end  # noqa: E731
EXCLUSIVE: Comes = lambda start, at, end: start <= at < end  # noqa: E731
OPEN: Comes = lambda start, at, end: start < at < end  # noqa: E731


def in_units_of(seconds: float, comes: Comes) -> Comes:
    def cut(moment: datetime) -> datetime:
        return START + (moment - START) // timedelta(seconds=seconds) * timedelta(seconds=seconds)

    return lambda start, at, end: comes(cut(start), cut(at), cut(end))


@pytest.mark.parametrize(
    ("comes", "value"), [(INCLUSIVE, "inclusive"), (EXCLUSIVE, "exclusive"), (OPEN, "open")]
)
def test_ends_written_in_seconds_are_seen_by_a_record_of_a_whole_second(
    dialect: Make, comes: Comes, value: str
) -> None:
    within = rows(
        timedelta(minutes=3, milliseconds=500), timedelta(minutes=30), timedelta(minutes=50, seconds=0.2)
    )
    found, milliseconds = ends_of(dialect(IN_SECONDS), within, comes)
    assert (found.value, milliseconds.measured) == (value, False)
    assert "written in whole seconds" in milliseconds.told
    none, _ = ends_of(dialect(IN_SECONDS), within[:1], comes)
    assert not none.measured, "a record within its second would come or not for another reason"


@pytest.mark.parametrize(
    ("comes", "ends", "milliseconds"),
    [
        (in_units_of(1, OPEN), "open", "cut"),
        (in_units_of(1, EXCLUSIVE), "exclusive", "cut"),
        (in_units_of(0.1, INCLUSIVE), None, None),
        (in_units_of(0.1, OPEN), None, None),
        (in_units_of(60, INCLUSIVE), None, None),
        (in_units_of(60, EXCLUSIVE), None, None),
        (lambda start, at, end: start.replace(microsecond=0) <= at <= end, "inclusive", "cut at the start"),
        (lambda start, at, end: start < at <= end.replace(microsecond=999_000), "end only", "cut at the end"),
        (lambda start, at, end: True, None, None),
    ],
)
def test_ends_are_cut_to_seconds_or_it_is_not_told(
    dialect: Make, comes: Comes, ends: str | None, milliseconds: str | None
) -> None:
    within = rows(timedelta(minutes=1, seconds=5.55), timedelta(minutes=20, seconds=31.25))
    assert [fact.value for fact in ends_of(dialect(), within, comes)] == [ends, milliseconds]


def test_times_finer_than_a_range_tell_nothing_of_its_ends(dialect: Make) -> None:
    found = ends_of(dialect(), rows(timedelta(minutes=3, microseconds=500_300)), INCLUSIVE)
    assert [fact.measured for fact in found] == [False, False]


def test_a_record_that_a_page_has_no_room_for_is_not_taken_for_one_outside(dialect: Make) -> None:
    crowd = rows(*(timedelta(minutes=3, milliseconds=number) for number in (100, 200, 300, 550)))
    assert [fact.measured for fact in ends_of(dialect(), crowd, INCLUSIVE, top=3)] == [False, False]
    assert [fact.measured for fact in ends_of(dialect(), crowd, INCLUSIVE, top=5)] == [True, True]


@pytest.mark.parametrize(
    ("within", "cap", "more"),
    [
        (minutes(*range(1, 50)), 1000, False),
        (minutes(*range(50, 0, -1)), 1000, False),
        (minutes(*range(1, 50)), 7, True),
        (minutes(*range(50, 0, -1)), 7, True),
        (rows(*[timedelta(minutes=4)] * 50), 7, None),
        (rows(*[timedelta(minutes=4)] * 50), 1000, None),
        (minutes(3), 1000, None),
    ],
)
def test_whether_more_follows_shows_without_an_offset(
    dialect: Make, within: list[Row], cap: int, more: bool | None
) -> None:
    """The source takes no notice of offsets."""
    found = anyio.run(place.ladder, asker(dialect(), within, INCLUSIVE, cap), SPAN)
    assert (found.items, found.more) == (min(cap, len(within)), more)


@pytest.mark.parametrize("last", [(2, 5), (1, 8)], ids=["the page grows shorter", "a part misses one"])
def test_pages_cut_by_chance_do_not_prove_that_nothing_follows(dialect: Make, last: tuple[int, int]) -> None:
    caps = [8, 8, 8, 8, 8, *last]

    class Fickle(Source):
        async def send(self, ask: tuple[Request, Ask], /) -> Page:
            page = await super().send(ask)
            return Page(rows=page.rows[: caps.pop(0)])

    source = Fickle(minutes(*range(1, 50)), INCLUSIVE, 1000)
    assert anyio.run(place.ladder, Asker(source, dialect(), Noted()), SPAN).more is None
    assert not caps


def test_a_record_that_was_added_in_the_meantime_does_not_follow(dialect: Make) -> None:
    class Growing(Source):
        async def send(self, ask: tuple[Request, Ask], /) -> Page:
            page = await super().send(ask)
            self.rows = sorted({*self.rows, *rows(*[timedelta(minutes=9)] * 60)[50:]}, key=lambda row: row[1])
            return page

    source = Growing(minutes(*range(1, 40)), INCLUSIVE, 1000)
    found = anyio.run(place.ladder, Asker(source, dialect(), Noted()), SPAN)
    assert found.more is None
