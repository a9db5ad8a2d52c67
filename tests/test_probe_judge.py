"""probe: what was seen becomes a fact, told in words, or "not measured"."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from harvester.contract import Contract, Fact, decode
from harvester.probe import judge
from harvester.probe.place import parts
from harvester.windows import Span
from tests.harvesting import DAY, START

MS = timedelta(milliseconds=1)
KEYS = [f"{number:03}" for number in range(9)]


@pytest.mark.parametrize(
    ("asked", "items", "more", "refused", "beyond", "limit", "largest"),
    [
        (1000, 1000, None, None, None, "honoured", 1000),
        (1000, 500, True, None, None, "cut", 500),
        (1000, 400, False, None, None, "honoured", 400),
        (1000, 400, None, None, None, None, 400),
        (500, 500, None, 1000, None, "refused", 500),
        (500, 20, False, 1000, None, "refused", 500),
        (500, 20, None, 1000, None, "refused", 500),
        (500, 200, True, 1000, None, "cut", 200),
        (10, 50, None, None, (1, 50), "ignored", 50),
        (1000, 40, True, None, (1, 4), "ignored", 40),
    ],
)
def test_a_page_tells_what_limit_means(
    asked: int,
    items: int,
    more: bool | None,
    refused: int | None,
    beyond: tuple[int, int] | None,
    limit: str | None,
    largest: int,
) -> None:
    found = judge.limit(asked, items, more=more, refused=refused, beyond=beyond)
    assert [fact.value for fact in found] == [limit, largest]
    told = found[0].told
    assert ("1,000 is refused" in told) == (refused is not None)
    assert ("and more followed" in told) == (more is True)
    assert (f"{items} came, and whether more follow does not show" in told) == (
        more is None and items < asked
    )


@pytest.mark.parametrize(
    ("second", "between", "again", "follow", "value"),
    [
        (KEYS[3:6], KEYS[2:5], KEYS[:3], True, "works"),
        (KEYS[3:4], KEYS[2:4], KEYS[:3], True, "works"),
        (KEYS[3:6], None, KEYS[:3], True, "works"),
        (KEYS[:3], None, KEYS[:3], True, "ignored"),
        (KEYS[:3], None, KEYS[1:4], True, None),
        (KEYS[2:5], KEYS[1:4], KEYS[:3], True, "overlaps"),
        (KEYS[6:9], KEYS[4:7], KEYS[:3], True, "skips"),
        ([], None, KEYS[:3], True, "empty"),
        ([], None, KEYS[:3], False, None),
    ],
)
def test_pages_tell_what_offset_means(
    second: list[str], between: list[str] | None, again: list[str], follow: bool, value: str | None
) -> None:
    found = judge.offset(KEYS[:3], second, between=between, again=again, follow=follow)
    assert found.value == value


@pytest.mark.parametrize(
    ("second", "refused", "value"),
    [(None, 10, "refused"), (KEYS[1:4], 10, "works"), (KEYS[:3], 10, None), (KEYS[1:4], 1, "refused")],
)
def test_an_offset_of_one_tells_depth_from_refusal(
    second: list[str] | None, refused: int, value: str | None
) -> None:
    assert judge.small_offset(KEYS[:3], second, refused=refused).value == value


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([1, 2, 2, 3, 4, 5, 6, 7], "ascending"),
        ([7, 6, 5, 4, 3, 2, 2, 1], "descending"),
        ([1, 3, 2], "not kept"),
        ([1, 2, 3, 4, 5, 6], None),
        ([1, 2, 2], None),
        ([], None),
    ],
)
def test_rows_tell_whether_an_order_is_kept(values: list[int], value: str | None) -> None:
    assert judge.order("order", "_id", values).value == value


@pytest.mark.parametrize(
    ("readings", "value"),
    [
        ([["a", "b"], ["b", "a"], ["a", "b"]], "change"),
        ([["a", "b"]] * 3, "stable"),
        ([["a", "b", "c"], ["b", "c", "d"]], None),
        ([["a", "b", "c"], ["c", "b", "d"]], "change"),
        ([["a"], ["a"]], None),
        ([[], []], None),
    ],
)
def test_readings_of_an_instant_tell_whether_its_order_stays(readings: list[list[str]], value: str) -> None:
    assert judge.ties(readings).value == value


def test_few_ties_are_read_more_often() -> None:
    assert [judge.readings(count) for count in (1, 2, 3, 4, 7, 1000)] == [11, 11, 5, 4, 3, 3]


@pytest.mark.parametrize("start", [judge.End(inside=True, cut=True), judge.End(inside=False, cut=True)])
@pytest.mark.parametrize("end", [judge.End(inside=True, cut=True), judge.End(inside=False, cut=True)])
def test_cut_ends_are_told_as_what_they_take_in(start: judge.End, end: judge.End) -> None:
    found = judge.sub_second(start, end)
    assert found.value == "cut"
    assert f"{'all' if start.inside else 'nothing'} of its first second" in found.told
    assert f"{'all' if end.inside else 'nothing'} of its last second" in found.told
    at_end = judge.sub_second(judge.End(inside=True, cut=False), end)
    assert (at_end.value, "first" in at_end.told) == ("cut at the end", False)


UTC_DAY = Span(start=START, end=START + DAY)
OTHER_DAY = Span(start=START - timedelta(hours=9), end=START + timedelta(hours=15))
HOURLY = {f"{hour:03}": START + timedelta(hours=hour, minutes=30) for hour in range(-12, 36)}


def of(span: Span, most: int = 99) -> dict[Any, datetime]:
    return dict([(key, at) for key, at in HOURLY.items() if span.contains(at)][:most])


@pytest.mark.parametrize(
    ("relative", "ours", "utc", "whole", "value"),
    [
        (of(OTHER_DAY), of(OTHER_DAY), of(UTC_DAY), True, "agree"),
        (of(UTC_DAY), of(OTHER_DAY), of(UTC_DAY), True, "UTC"),
        (of(OTHER_DAY, 5), of(OTHER_DAY, 5), of(UTC_DAY, 5), False, "agree"),
        (of(UTC_DAY, 5), of(OTHER_DAY, 5), of(UTC_DAY, 5), False, "UTC"),
        ({}, of(OTHER_DAY), of(UTC_DAY), True, "differ"),
        ({}, of(OTHER_DAY), of(UTC_DAY), False, None),
        (HOURLY, of(OTHER_DAY, 5), of(UTC_DAY, 5), False, "differ"),
        ({"014": HOURLY["014"]}, {"014": HOURLY["014"]}, {"014": HOURLY["014"]}, True, None),
    ],
)
def test_only_what_no_other_day_could_have_brought_is_told(
    relative: dict[Any, datetime],
    ours: dict[Any, datetime],
    utc: dict[Any, datetime],
    whole: bool,
    value: str | None,
) -> None:
    days = judge.Day(span=OTHER_DAY, records=ours), judge.Day(span=UTC_DAY, records=utc)
    assert judge.relative_days(relative, *days, zone="Asia/Tokyo", whole=whole).value == value


def test_the_other_judgements() -> None:
    late = judge.lateness([timedelta(hours=-1), timedelta(minutes=30)], "hour")
    assert late.value == {"most_s": 1800.0, "after_period": 0.5, "records": 2}
    assert "30.0 minutes later" in late.told
    assert judge.clock_skew([119.0, 121.0, 120.4]).told == "2.0 minutes ahead of this machine's"
    assert judge.clock_skew([-0.4, 1.1]).told == "agrees with this machine's"
    assert not judge.clock_skew([]).measured
    assert judge.past_end({"a", "b"}, ["b"]).value == "repeats"
    assert not judge.past_end({"a", "b"}, ["b", "c"]).measured
    assert judge.seek({1, 2, 3}, {3}, {2, 3}).value == "wrong"


@pytest.mark.parametrize("length", [timedelta(hours=1), timedelta(days=80)])
def test_parts_lie_in_the_span_and_cover_it_where_they_may(length: timedelta) -> None:
    span = Span(start=START, end=START + 80 * DAY + 7 * MS)
    found = parts(span, length)
    assert found[0].start == span.start
    assert all(one.end <= other.start for one, other in pairwise(found))
    if length >= 80 * DAY:
        assert found[-1].end == span.end
        assert all(one.end == other.start for one, other in pairwise(found))
    assert parts(Span(start=START, end=START + 3 * MS), length) == [Span(start=START, end=START + 3 * MS)]


def test_a_contract_comes_back_from_its_bytes_and_other_bytes_are_none() -> None:
    fact = Fact(name="limit", value="cut", told="cut")
    one = Contract(source="https://x", dialect="interactions", measured_at=START, requests=7, facts=(fact,))
    assert decode(one.encode()) == one
    assert (one.value("limit"), one.value("ends"), one.largest_page) == ("cut", None, None)
    for wrong in (b"", b"[]", b"{}", replace(one, format_version=2).encode()):
        with pytest.raises(ValueError):
            decode(wrong)
