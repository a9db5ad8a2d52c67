"""Windows tile any span in any zone. The oracle is the tz database's own files, read here byte by byte.

Each zone is tried at a sample of its clock's jumps, odd ones among them; `scripts/zone-sweep` tries all.
"""

import itertools
import os
import random
import struct
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.windows import (
    By,
    Partition,
    Resolution,
    Span,
    Window,
    after,
    count_windows,
    floor,
    local_clock,
    merge,
    parse_time,
    partition_of,
    partitions,
    relative_span,
    subtract,
    windows,
    zone,
)

QUARTER_HOUR, HOUR, DAY, AUTO = Resolution
PERIODS = (QUARTER_HOUR, HOUR, DAY)
STEP = {QUARTER_HOUR: timedelta(minutes=15), HOUR: timedelta(hours=1), DAY: timedelta(days=1)}
ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text + "Z")


def span_of(start: str, end: str) -> Span:
    return Span(start=utc(start), end=utc(end))


def lengths(span: Span, resolution: Resolution, tz: ZoneInfo) -> list[timedelta]:
    return [window.end - window.start for window in windows(span, resolution, tz)]


# The oracle


class Jump(NamedTuple):
    """The clock of a zone goes from one offset to UTC to another, in seconds."""

    at: datetime
    before: int
    after: int

    @property
    def skips_midnight(self) -> bool:
        last, first = (self.at.replace(tzinfo=None) + timedelta(seconds=s) for s in (self.before, self.after))
        return first > last and first.date() > (last - SECOND).date()

    @property
    def moves_the_grid(self) -> bool:
        return (self.after - self.before) % 3600 != 0


@cache
def jumps_in_file(name: str) -> tuple[Jump, ...]:
    """What the TZif file of a zone lists (RFC 9636, the 64-bit block), without changes of name only."""
    files = [path for folder in zoneinfo.TZPATH if (path := Path(folder, name)).is_file()]
    data = (
        files[0].read_bytes() if files else resources.files("tzdata").joinpath("zoneinfo", name).read_bytes()
    )

    def counts(at: int) -> tuple[int, ...]:
        return struct.unpack(">6l", data[at + 20 : at + 44])

    isut, isstd, leaps, times, types, chars = counts(0)
    block = 44 + times * 5 + types * 6 + chars + leaps * 8 + isstd + isut
    *_, times, types, chars = counts(block)
    block += 44
    instants = struct.unpack_from(f">{times}q", data, block)
    kinds = struct.unpack_from(f">{times}B", data, block + 8 * times)
    offsets = [struct.unpack_from(">l", data, block + 9 * times + 6 * kind)[0] for kind in range(types)]
    found, before = [], offsets[0]
    for instant, kind in zip(instants, kinds, strict=True):
        if offsets[kind] != before:
            found.append(Jump(datetime(1970, 1, 1, tzinfo=UTC) + instant * SECOND, before, offsets[kind]))
        before = offsets[kind]
    return tuple(found)


def offset(t: datetime, tz: ZoneInfo) -> int:
    return (t.astimezone(tz).replace(tzinfo=None) - t.replace(tzinfo=None)) // SECOND


def reading(t: datetime, tz: ZoneInfo) -> datetime:
    return t.astimezone(tz).replace(tzinfo=None)


def jumps_between(start: datetime, end: datetime, tz: ZoneInfo) -> list[Jump]:
    """Those in start < at < end: from the file, and beyond its end, where a rule holds, day by day."""
    listed = jumps_in_file(tz.key)
    first, last = (bisect_right(listed, t, key=lambda jump: jump.at) for t in (start, end - MILLISECOND))
    found = list(listed[first:last])
    day = max(start, listed[-1].at if listed else start).replace(microsecond=0)
    while day < end:
        if (old := offset(day, tz)) != (new := offset(day + STEP[DAY], tz)):
            into = bisect_left(range(86400), True, key=lambda s: offset(day + s * SECOND, tz) != old)
            at = day + into * SECOND
            if start < at < end:
                found.append(Jump(at, old, new))
        day += STEP[DAY]
    return found


def into_step(t: datetime, step: timedelta, tz: ZoneInfo) -> timedelta:
    local = reading(t, tz)
    return (local - datetime.combine(local, datetime.min.time())) % step


def is_first_of_its_date(t: datetime, tz: ZoneInfo) -> bool:
    """No moment before `t` shows this date or a later one. The ends of stretches are enough to tell."""
    ends = [jump.at for jump in jumps_between(t - timedelta(days=2), t, tz)]
    return all(reading(end - SECOND, tz).date() < reading(t, tz).date() for end in [*ends, t])


def check_tiles(span: Span, tiles: list[Window] | list[Partition]) -> None:
    assert all(a.end == b.start for a, b in itertools.pairwise(tiles))
    assert all(tile.start < tile.end for tile in tiles)
    assert tiles[0].start <= span.start < tiles[0].end
    assert tiles[-1].start < span.end <= tiles[-1].end


def check_clock(tiles: list[Window], resolution: Resolution, tz: ZoneInfo, jumps: list[Jump]) -> None:
    """Quarter hours and hours: every edge is one, and every edge there is has been found."""
    step = STEP[resolution]
    forced = {jump.at for jump in jumps if jump.moves_the_grid or jump.skips_midnight}
    for tile in tiles:
        assert tile.end - tile.start <= step
    for tile in tiles[1:]:
        assert tile.start in forced or not into_step(tile.start, step, tz)
    edges = {tile.start for tile in tiles[1:]}
    assert forced <= edges
    ends = [tiles[0].start, *(jump.at for jump in jumps), tiles[-1].end]
    for begin, end in itertools.pairwise(ends):
        aligned = begin + (step - into_step(begin, step, tz)) % step
        while aligned < end:
            assert aligned in edges or aligned == tiles[0].start
            aligned += step


def check_days(tiles: list[Window], tz: ZoneInfo, jumps: list[Jump]) -> None:
    """Days: every edge is the first moment of its date, and no window but the first, cut, shows a later."""
    for tile in tiles[1:]:
        day = reading(tile.start, tz).date()
        assert is_first_of_its_date(tile.start, tz)
        ends = [jump.at for jump in jumps if tile.start < jump.at < tile.end]
        assert all(reading(end - MILLISECOND, tz).date() <= day for end in [*ends, tile.end])


def check(span: Span, resolution: Resolution, tz: ZoneInfo) -> None:
    """All that `windows` promises, of one span."""
    tiles = list(windows(span, resolution, tz))
    jumps = jumps_between(span.start, span.end, tz)
    check_tiles(span, tiles)
    assert tiles[0].start == span.start
    assert tiles[-1].end == span.end
    assert count_windows(span, resolution, tz) == len(tiles)
    if resolution is DAY:
        check_days(tiles, tz, jumps)
    else:
        check_clock(tiles, resolution, tz, jumps)
    edges = {tile.start for tile in tiles}
    for by in ("day", "month"):
        parts = list(partitions(span, by, tz))
        check_tiles(span, parts)
        assert edges.issuperset(part.start for part in parts[1:]), "a window crosses the edge of a partition"
        assert [part.name for part in parts] == sorted({part.name for part in parts})
        for part in parts:
            assert part.name == reading(part.start, tz).date().isoformat()[: len(part.name)]
            assert is_first_of_its_date(part.start, tz)


def check_around(at: datetime, resolution: Resolution, tz: ZoneInfo) -> None:
    """`floor` and `after` give the edges that `windows` has."""
    reach = 3 * STEP[resolution]
    for tile in windows(Span(start=at - reach, end=at + reach), resolution, tz):
        if tile.start <= at <= tile.end and at - reach < tile.start and tile.end < at + reach:
            for t in (tile.start, tile.end - MILLISECOND):
                assert (floor(t, resolution, tz), after(t, resolution, tz)) == (tile.start, tile.end)


# Every zone


def tried(name: str) -> list[datetime]:
    """Some jumps of the zone, the same at each run: one odd, any two, one of a year beyond the file."""
    listed = jumps_in_file(name)
    future = jumps_between(datetime(2040, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC), ZoneInfo(name))
    if os.environ.get("ZONE_SWEEP") == "all":
        chosen = [*listed, *future]
    else:
        odd = [jump for jump in listed if jump.moves_the_grid or jump.skips_midnight]
        rng = random.Random(name)
        chosen = [
            jump for some, most in ((odd, 1), (listed, 2), (future, 1)) for jump in some_of(some, most, rng)
        ]
    return [jump.at for jump in chosen] or [datetime(2024, 2, 29, 23, tzinfo=UTC)]


def some_of(jumps: Sequence[Jump], most: int, rng: random.Random) -> list[Jump]:
    return rng.sample(jumps, min(most, len(jumps)))


@pytest.mark.parametrize("name", ZONES)
def test_windows_and_partitions_tile_every_zone_around_its_jumps(name: str) -> None:
    tz, rng = ZoneInfo(name), random.Random(name)
    for at in tried(name):
        for resolution, reach_s in ((QUARTER_HOUR, 2 * 3600), (HOUR, 14 * 3600), (DAY, 75 * 3600)):
            start, end = (rng.randrange(1000, reach_s * 1000) * MILLISECOND for _ in range(2))
            check(Span(start=at - start, end=at + end), resolution, tz)
            check_around(at, resolution, tz)


def test_no_stretch_of_any_clock_is_so_short_that_it_could_be_overlooked() -> None:
    for name in ZONES:
        for jump, following in itertools.pairwise(jumps_in_file(name)):
            assert following.at - jump.at > 2 * timedelta(seconds=local_clock._LOOK_S), (name, jump)


@pytest.mark.parametrize("resolution", PERIODS)
def test_a_clock_that_goes_and_comes_back_within_a_week_is_not_overlooked(resolution: Resolution) -> None:
    for name, start, end in (
        ("America/Recife", "2000-10-01T00:00:00", "2000-10-20T00:00:00"),
        ("Africa/Casablanca", "2024-03-01T00:00:00", "2024-05-01T00:00:00"),
    ):
        assert len(jumps_between(utc(start), utc(end), zone(name))) == 2
        check(span_of(start, end), resolution, zone(name))


# Any span

moments = st.integers(0, 320 * 366 * 86_400_000).map(lambda ms: utc("1800-01-01T00:00:00") + ms * MILLISECOND)
zones = st.sampled_from(ZONES).map(ZoneInfo)
resolutions = st.sampled_from(PERIODS)
bys: st.SearchStrategy[By] = st.sampled_from(["day", "month"])


@st.composite
def spans(draw: st.DrawFn, most: timedelta = timedelta(days=9)) -> Span:
    start = draw(moments)
    return Span(start=start, end=start + draw(st.integers(1, most // MILLISECOND)) * MILLISECOND)


@given(spans(), resolutions, zones)
def test_windows_tile_any_span(span: Span, resolution: Resolution, tz: ZoneInfo) -> None:
    check(span, resolution, tz)


@given(spans(), resolutions, zones, st.data())
def test_a_span_cuts_windows_and_never_moves_their_edges(
    span: Span, resolution: Resolution, tz: ZoneInfo, data: st.DataObject
) -> None:
    length = (span.end - span.start) // MILLISECOND
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, length))
    part = Span(start=span.start + begin * MILLISECOND, end=span.start + end * MILLISECOND)
    inner = {window.start for window in windows(span, resolution, tz)}
    cut_edges = {window.start for window in windows(part, resolution, tz)} - {part.start}
    assert cut_edges == {edge for edge in inner if part.start < edge < part.end}


@given(spans(), zones)
def test_the_edges_of_a_coarser_grid_are_edges_of_each_finer_one(span: Span, tz: ZoneInfo) -> None:
    days, hours, quarters = ({w.start for w in windows(span, r, tz)} for r in (DAY, HOUR, QUARTER_HOUR))
    assert days <= hours <= quarters


@given(moments, bys, zones)
def test_each_moment_has_one_partition(t: datetime, by: By, tz: ZoneInfo) -> None:
    partition = partition_of(t, by, tz)
    assert partition.contains(t)
    assert partition_of(partition.start, by, tz) == partition
    assert partition_of(partition.end - MILLISECOND, by, tz) == partition
    assert partition_of(partition.end, by, tz).start == partition.end
    assert is_first_of_its_date(partition.start, tz)


@given(spans(), bys, zones)
def test_partitions_are_those_that_the_span_touches(span: Span, by: By, tz: ZoneInfo) -> None:
    parts = list(partitions(span, by, tz))
    check_tiles(span, parts)
    assert parts[0] == partition_of(span.start, by, tz)
    assert parts[-1] == partition_of(span.end - MILLISECOND, by, tz)


# Days, hours and quarters that people trip over


@pytest.mark.parametrize(
    ("name", "day", "start", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", "2024-03-30T23:00:00", 23),
        ("Europe/Berlin", "2024-10-26", "2024-10-25T22:00:00", 24),
        ("Europe/Berlin", "2024-10-27", "2024-10-26T22:00:00", 25),
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00:00", 24.5),
        ("Australia/Lord_Howe", "2024-10-06", "2024-10-05T13:30:00", 23.5),
        ("Asia/Kathmandu", "2024-01-01", "2023-12-31T18:15:00", 24),
        ("Pacific/Chatham", "2024-09-29", "2024-09-28T11:15:00", 23),
        # midnight does not exist
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00", 23),
        ("Asia/Beirut", "2024-03-31", "2024-03-30T22:00:00", 23),
        ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00", 23),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00", 23.5),  # 23:30 was followed by 00:30
        ("America/Toronto", "1919-03-30", "1919-03-30T05:00:00", 23.5),
        # midnight comes twice, and 23:00 to midnight twice
        ("America/Havana", "2024-11-03", "2024-11-03T04:00:00", 25),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00", 25),
        # from 00:01 back to 23:01 of the day before: the date has begun
        ("America/St_Johns", "2010-11-06", "2010-11-06T02:30:00", 24),
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00", 25),
        # across the date line
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00", 24),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00", 24),
        ("Pacific/Kwajalein", "1993-08-20", "1993-08-20T12:00:00", 24),
        ("Pacific/Kwajalein", "1993-08-22", "1993-08-21T12:00:00", 24),
        ("Pacific/Kwajalein", "1969-09-30", "1969-09-29T13:00:00", 47),
        # local mean time
        ("Africa/Monrovia", "1972-01-06", "1972-01-06T00:44:30", 24),
        ("Africa/Monrovia", "1972-01-07", "1972-01-07T00:44:30", 24 - 44.5 / 60),
        ("Asia/Manila", "1844-12-30", "1844-12-30T15:56:08", 24),
    ],
)
def test_a_local_day_begins_and_ends_where_its_clock_says(
    name: str, day: str, start: str, hours: float
) -> None:
    tz, begin, end = zone(name), utc(start), utc(start) + timedelta(hours=hours)
    expected = Partition(name=day, start=begin, end=end)
    assert partition_of(begin, "day", tz) == partition_of(end - MILLISECOND, "day", tz) == expected
    assert floor(begin, DAY, tz) == floor(end - MILLISECOND, DAY, tz) == begin
    assert after(begin, DAY, tz) == end
    assert parse_time(day, tz) == parse_time(date.fromisoformat(day), tz) == begin
    assert list(windows(Span(start=begin, end=end), DAY, tz)) == [Window(start=begin, end=end)]


@pytest.mark.parametrize(
    ("name", "start", "end", "days"),
    [
        ("Pacific/Apia", "2011-12-29T10:00:00", "2012-01-01T10:00:00", ["29", "31", "01"]),
        ("Pacific/Kwajalein", "1993-08-20T12:00:00", "1993-08-23T12:00:00", ["20", "22", "23"]),
        ("Asia/Manila", "1844-12-30T15:56:08", "1845-01-01T15:56:08", ["30", "01"]),
    ],
)
def test_a_day_that_never_was_has_neither_partition_nor_window(
    name: str, start: str, end: str, days: list[str]
) -> None:
    tz, span = zone(name), span_of(start, end)
    assert [part.name[-2:] for part in partitions(span, "day", tz)] == days
    assert count_windows(span, DAY, tz) == len(days)


def test_minutes_that_the_clock_shows_again_stay_in_the_day_that_had_begun() -> None:
    tz = zone("America/St_Johns")
    t = utc("2010-11-07T03:00:00")
    assert reading(t, tz) == datetime(2010, 11, 6, 23, 30)  # noqa: DTZ001
    assert partition_of(t, "day", tz).name == "2010-11-07"
    assert partition_of(utc("2010-11-07T02:29:59"), "day", tz).name == "2010-11-06"


def test_a_repeated_hour_is_two_windows_and_a_skipped_one_none() -> None:
    berlin = zone("Europe/Berlin")
    autumn, spring = (
        partition_of(utc(t), "day", berlin) for t in ("2024-10-27T12:00:00", "2024-03-31T12:00:00")
    )
    for day, hours in ((autumn, 25), (spring, 23)):
        span = Span(start=day.start, end=day.end)
        assert lengths(span, HOUR, berlin) == [STEP[HOUR]] * hours
        assert lengths(span, QUARTER_HOUR, berlin) == [STEP[QUARTER_HOUR]] * hours * 4
    repeated = list(windows(span_of("2024-10-27T00:00:00", "2024-10-27T02:00:00"), HOUR, berlin))
    assert [reading(window.start, berlin).hour for window in repeated] == [2, 2]


@pytest.mark.parametrize(
    ("start", "minutes"),
    [
        ("2024-04-06T14:00:00", [60, 30, 60]),  # 01:00 to 02:00, then 01:30 again to 02:00
        ("2024-10-05T14:30:00", [60, 30, 60]),  # 01:00 to 02:00, then 02:30 to 03:00
    ],
)
def test_half_an_hour_of_daylight_saving_makes_one_hour_shorter_and_none_longer(
    start: str, minutes: list[int]
) -> None:
    lord_howe, total = zone("Australia/Lord_Howe"), timedelta(minutes=sum(minutes))
    span = Span(start=utc(start), end=utc(start) + total)
    assert lengths(span, HOUR, lord_howe) == [timedelta(minutes=m) for m in minutes]
    assert set(lengths(span, QUARTER_HOUR, lord_howe)) == {STEP[QUARTER_HOUR]}


@pytest.mark.parametrize(
    ("name", "t", "quarter", "hour"),
    [
        ("Asia/Kathmandu", "2024-01-01T12:20:00", "12:15:00", "12:15:00"),
        ("Asia/Kolkata", "2024-01-01T12:20:00", "12:15:00", "11:30:00"),
        ("America/St_Johns", "2024-01-01T12:20:00", "12:15:00", "11:30:00"),
        ("Africa/Monrovia", "1971-01-01T12:20:00", "12:14:30", "11:44:30"),
    ],
)
def test_edges_are_whole_on_the_local_clock(name: str, t: str, quarter: str, hour: str) -> None:
    assert floor(utc(t), QUARTER_HOUR, zone(name)) == utc(t[:11] + quarter)
    assert floor(utc(t), HOUR, zone(name)) == utc(t[:11] + hour)


def test_a_month_ends_where_the_local_month_ends() -> None:
    for name, t, start, end in (
        ("UTC", "2024-02-29T23:59:59", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("America/New_York", "2024-04-01T03:59:59", "2024-03-01T05:00:00", "2024-04-01T04:00:00"),
        ("Pacific/Apia", "2011-12-31T00:00:00", "2011-12-01T10:00:00", "2011-12-31T10:00:00"),
    ):
        month = Partition(
            name=reading(utc(start), zone(name)).date().isoformat()[:7], start=utc(start), end=utc(end)
        )
        assert partition_of(utc(t), "month", zone(name)) == month


def test_ten_years_of_quarter_hours_are_counted_without_being_made() -> None:
    span = span_of("2014-01-01T00:00:00", "2024-01-01T00:00:00")
    for name in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"):
        assert count_windows(span, QUARTER_HOUR, zone(name)) == 3652 * 96


def test_the_first_day_does_not_wait_for_the_last() -> None:
    forever = windows(span_of("0002-01-01T00:00:00", "9998-01-01T00:00:00"), DAY, zone("UTC"))
    assert next(forever) == Window(start=utc("0002-01-01T00:00:00"), end=utc("0002-01-02T00:00:00"))


# Relative spans


@pytest.mark.parametrize(
    ("name", "now", "periods", "resolution", "start", "end"),
    [
        ("UTC", "2024-05-05T12:34:56", (0, 0), DAY, "2024-05-05T00:00:00", "2024-05-06T00:00:00"),
        ("UTC", "2024-05-05T00:00:00", (-1, -1), DAY, "2024-05-04T00:00:00", "2024-05-05T00:00:00"),
        ("UTC", "2024-05-05T12:34:56", (-7, -1), DAY, "2024-04-28T00:00:00", "2024-05-05T00:00:00"),
        ("UTC", "2024-05-05T12:34:56", (-1, 1), HOUR, "2024-05-05T11:00:00", "2024-05-05T14:00:00"),
        ("UTC", "2024-05-05T12:34:56", (2, 3), QUARTER_HOUR, "2024-05-05T13:00:00", "2024-05-05T13:30:00"),
        ("Europe/Berlin", "2024-10-28T12:00:00", (-1, -1), DAY, "2024-10-26T22:00:00", "2024-10-27T23:00:00"),
        ("Asia/Kolkata", "2024-05-05T19:00:00", (-1, -1), DAY, "2024-05-04T18:30:00", "2024-05-05T18:30:00"),
        ("Pacific/Apia", "2011-12-31T00:00:00", (-1, -1), DAY, "2011-12-29T10:00:00", "2011-12-30T10:00:00"),
        ("Pacific/Apia", "2011-12-30T00:00:00", (1, 1), DAY, "2011-12-30T10:00:00", "2011-12-31T10:00:00"),
        ("UTC", "2024-05-05T12:00:00", (-3653, -1), DAY, "2014-05-05T00:00:00", "2024-05-05T00:00:00"),
    ],
)
def test_a_relative_span_is_counted_in_local_periods(
    name: str, now: str, periods: tuple[int, int], resolution: Resolution, start: str, end: str
) -> None:
    assert relative_span(utc(now), *periods, resolution, zone(name)) == span_of(start, end)


@given(moments, st.integers(-400, 400), resolutions, zones)
@example(utc("1867-10-25T00:00:00"), -7, DAY, ZoneInfo("America/Juneau"))  # over a day of 48 hours
@example(utc("1867-10-10T00:00:00"), 12, DAY, ZoneInfo("America/Juneau"))
@example(utc("1969-10-02T00:00:00"), -1, DAY, ZoneInfo("Pacific/Kwajalein"))  # over one of 47
def test_a_period_is_as_many_windows_away_as_its_number(
    now: datetime, period: int, resolution: Resolution, tz: ZoneInfo
) -> None:
    there = relative_span(now, period, period, resolution, tz)
    assert list(windows(there, resolution, tz)) == [Window(start=there.start, end=there.end)]
    start, end = sorted((floor(now, resolution, tz), there.start))
    between = count_windows(Span(start=start, end=end), resolution, tz) if start < end else 0
    assert (between, there.start > now) == (abs(period), period > 0)


def test_a_relative_span_that_runs_backwards_or_out_of_time_is_refused() -> None:
    now, berlin = utc("2024-05-05T12:00:00"), zone("Europe/Berlin")
    with pytest.raises(ValueError, match="from_period 0 comes after to_period -1"):
        relative_span(now, 0, -1, DAY, berlin)
    for periods in ((-(10**6), 0), (0, 10**12), (-(10**40), -1)):
        with pytest.raises(ValueError, match="not within the years 2 to 9998"):
            relative_span(now, *periods, DAY, berlin)


# Times as people write them


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00"),
        ("2024-01-01t00:00:00z", "2024-01-01T00:00:00"),
        ("2024-01-01 00:00Z", "2024-01-01T00:00:00"),
        ("2021-07-01T00:00:00-0500", "2021-07-01T05:00:00"),
        ("2021-07-01T00:00:00+05:45", "2021-06-30T18:15:00"),
        ("2021-07-01T00:00:00+02", "2021-06-30T22:00:00"),
        ("2022-07-25T15:08:57.025Z", "2022-07-25T15:08:57.025"),
        ("2022-07-25T15:08:57.025000000Z", "2022-07-25T15:08:57.025"),
        ("2024-07-01", "2024-06-30T22:00:00"),
        ("2024-07-01T12:00:00", "2024-07-01T10:00:00"),
        ("2024-07-01T12:00:00.5", "2024-07-01T10:00:00.500"),
        ("2024-03-31T02:30:00.250", "2024-03-31T01:00:00"),  # the clock went from 02:00 to 03:00
        ("2024-03-31T03:00:00.250", "2024-03-31T01:00:00.250"),
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00"),  # it showed 02:30 twice
    ],
)
def test_times_are_read_on_the_jobs_clock_unless_they_carry_an_offset(text: str, instant: str) -> None:
    assert parse_time(text, zone("Europe/Berlin")) == utc(instant)
    assert parse_time(text, zone("Europe/Berlin")).tzinfo is UTC


def test_dates_and_datetimes_are_read_as_texts_are() -> None:
    berlin = zone("Europe/Berlin")
    assert parse_time(date(2024, 7, 1), berlin) == utc("2024-06-30T22:00:00")
    assert parse_time(datetime(2024, 7, 1), berlin) == utc("2024-06-30T22:00:00")  # noqa: DTZ001
    assert parse_time(datetime(2024, 7, 1, tzinfo=UTC), berlin) == utc("2024-07-01T00:00:00")
    twice = datetime(2024, 10, 27, 2, 30)  # noqa: DTZ001
    assert parse_time(twice, berlin) == utc("2024-10-27T00:30:00")
    assert parse_time(twice.replace(fold=1), berlin) == utc("2024-10-27T01:30:00")


def test_a_datetime_finer_than_a_millisecond_is_refused() -> None:
    with pytest.raises(ValueError, match="finer than a millisecond"):
        parse_time(datetime(2024, 1, 1, microsecond=1500, tzinfo=UTC), zone("UTC"))


@given(moments, zones)
def test_what_the_clock_shows_is_read_as_the_first_moment_that_shows_it(t: datetime, tz: ZoneInfo) -> None:
    shown = reading(t, tz)
    read = parse_time(shown.isoformat(), tz)
    assert read <= t
    assert reading(read, tz) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1e3", "2024", "20240101", "2024-W01-1", " 2024-01-01", "2024-01-01\n", "٢٠٢٤-01-01"),
        *("2024-13-01", "2024-02-30", "0000-01-01", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59+14:00"),
        *("2024-01-01T", "2024-01-01T00Z", "2024-01-01x00:00", "2024-01-01T25:00Z", "2024-01-01T00:00:60Z"),
        *("2024-01-01T00:00+24:00", "2024-01-01T00:00:00.0005Z", "2024-01-01T00:00:00.0000000001Z"),
    ],
)
def test_what_is_no_time_of_whole_milliseconds_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_time(text, zone("Europe/Berlin"))
    assert repr(text) in str(caught.value) or "years 2 to 9998" in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, datetime(2024, 1, 1).time(), []])  # noqa: DTZ001
def test_other_values_are_no_times(value: object) -> None:
    with pytest.raises(ValueError, match="is no time; write 2024-01-01T00:00:00Z"):
        parse_time(value, zone("UTC"))  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [datetime.min, datetime.max.replace(microsecond=0)])  # noqa: DTZ901
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_the_ends_of_the_calendar_are_refused_and_not_stumbled_over(end: datetime, hours: int) -> None:
    t, tz = end.replace(tzinfo=timezone(timedelta(hours=hours))), zone("Pacific/Apia")
    for use in (
        lambda: Span(start=min(t, utc("2024-01-01T00:00:00")), end=max(t, utc("2024-01-01T00:00:00"))),
        lambda: floor(t, DAY, tz),
        lambda: after(t, HOUR, tz),
        lambda: partition_of(t, "month", tz),
        lambda: relative_span(t, 0, 0, DAY, tz),
        lambda: parse_time(t, tz),
        lambda: parse_time(end, tz),
        lambda: parse_time(end.date(), tz),
    ):
        with pytest.raises(ValueError, match="not within the years 2 to 9998"):
            use()


@pytest.mark.parametrize("resolution", PERIODS)
@pytest.mark.parametrize("name", ["UTC", "Pacific/Apia", "America/New_York"])
def test_up_to_the_ends_everything_works(name: str, resolution: Resolution) -> None:
    span = span_of("0002-01-01T00:00:00", "0002-01-03T12:00:00")
    check_tiles(span, list(windows(span, resolution, zone(name))))
    assert floor(span.start, resolution, zone(name)) <= span.start < after(span.start, resolution, zone(name))
    span = span_of("9998-12-28T12:00:00", "9999-01-01T00:00:00")
    check_tiles(span, list(windows(span, resolution, zone(name))))
    assert floor(span.end, resolution, zone(name)) <= span.end < after(span.end, resolution, zone(name))


# Zones and resolutions by name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlim", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("new_york", "did you mean America/New_York?"),
        *((name, "use an IANA name") for name in ("PST", "CEST", "", "America", "localtime", "Mars/Phobos")),
        *(
            (name, "use an IANA name")
            for name in ("../x", "/etc/passwd", "a\0b", "x" * 300, "\ud800", "zone.tab")
        ),
    ],
)
def test_an_unknown_zone_is_told_with_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(ValueError) as caught:
        zone(name)
    assert f"time zone {name!r} is not known; {hint}" in str(caught.value)


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    zoneinfo.reset_tzpath([])
    ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_system_zones")
def test_zones_come_from_the_package_where_the_system_has_none() -> None:
    assert floor(utc("2024-07-01T12:00:00"), DAY, zone("Europe/Berlin")) == utc("2024-06-30T22:00:00")


def test_a_resolution_is_read_as_the_api_spells_it() -> None:
    assert [Resolution.parse(text) for text in ("QuarterHour", "Hour", "Day", "Auto")] == list(Resolution)
    with pytest.raises(
        ValueError, match="resolution 'hour' is not known; known are QuarterHour, Hour, Day, Auto"
    ):
        Resolution.parse("hour")


# Intervals


@pytest.mark.parametrize("kind", [Span, Window])
def test_intervals_are_aware_in_utc_and_not_empty(kind: type[Span] | type[Window]) -> None:
    berlin = zone("Europe/Berlin")
    made = kind(start=datetime(2024, 7, 1, tzinfo=berlin), end=datetime(2024, 7, 2, tzinfo=berlin))
    assert (made.start, made.start.tzinfo, made.end.tzinfo) == (utc("2024-06-30T22:00:00"), UTC, UTC)
    assert made.contains(made.start)
    assert not made.contains(made.end)
    with pytest.raises(ValueError, match="is not before the end"):
        kind(start=made.start, end=made.start)
    with pytest.raises(ValueError, match="is not before the end"):
        kind(start=made.end, end=made.start)
    with pytest.raises(ValueError, match="has no time zone"):
        kind(start=datetime(2024, 7, 1), end=made.end)  # noqa: DTZ001


def test_intervals_are_ordered_by_time() -> None:
    span = span_of("2024-01-30T00:00:00", "2024-02-03T00:00:00")
    parts = list(partitions(span, "day", zone("UTC")))
    assert sorted(random.Random(1).sample(parts, len(parts))) == parts
    assert [part.name for part in parts] == sorted(part.name for part in parts)


@given(spans(timedelta(seconds=1)))
def test_halves_tile_their_window_at_a_whole_millisecond(span: Span) -> None:
    window = Window(start=span.start, end=span.end)
    if window.end - window.start < 2 * MILLISECOND:
        with pytest.raises(ValueError, match="under 2 ms"):
            window.halves()
        return
    first, second = window.halves()
    assert (first.start, first.end, second.end) == (window.start, second.start, window.end)
    assert first.end.microsecond % 1000 == 0
    assert abs((first.end - first.start) - (second.end - second.start)) <= MILLISECOND


ORIGIN = utc("2024-01-01T00:00:00")
small = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(
    lambda pair: Span(start=ORIGIN + pair[0] * SECOND, end=ORIGIN + sum(pair) * SECOND)
)


def seconds(spans: list[Span]) -> set[datetime]:
    return {t for i in range(60) for t in [ORIGIN + i * SECOND] if any(span.contains(t) for span in spans)}


@given(st.lists(small, max_size=8))
def test_merged_spans_cover_the_same_times_and_neither_overlap_nor_touch(several: list[Span]) -> None:
    merged = merge(several)
    assert seconds(merged) == seconds(several)
    assert all(a.end < b.start for a, b in itertools.pairwise(merged))


@given(small, st.lists(small, max_size=8))
def test_what_is_left_of_a_span_is_what_nothing_covers(span: Span, covered: list[Span]) -> None:
    left = subtract(span, covered)
    assert seconds(left) == seconds([span]) - seconds(covered)
    assert all(a.end < b.start for a, b in itertools.pairwise(left))


@given(small, small)
def test_an_overlap_is_what_both_spans_have(one: Span, other: Span) -> None:
    overlap = one.overlap(other)
    assert overlap == other.overlap(one)
    assert seconds([overlap] if overlap else []) == seconds([one]) & seconds([other])


def test_windows_that_size_themselves_have_the_edges_of_days_where_edges_are_needed() -> None:
    berlin = zone("Europe/Berlin")
    span = Span(start=datetime(2024, 3, 30, 5, tzinfo=UTC), end=datetime(2024, 4, 2, 7, tzinfo=UTC))
    assert list(windows(span, AUTO, berlin)) == list(windows(span, DAY, berlin))
    assert count_windows(span, AUTO, berlin) == 4
