"""One small function for each measurement: it asks what it must, and judge.py says what the answers mean."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import orjson

from harvester import windows
from harvester.contract import Fact
from harvester.dialects import Ask, Key, Page, Row
from harvester.errors import Rejected
from harvester.job import Job
from harvester.probe import judge
from harvester.probe.asker import Asker, size
from harvester.probe.judge import Day, End
from harvester.probe.place import Ladder, Place
from harvester.windows import Resolution, Span

DEPTH: Final = 10_000
_FEW: Final = 4
_SOME: Final = 10
_STRAYS: Final = "records come that lie outside of the range asked for"
_MS: Final = timedelta(milliseconds=1)
_SECOND: Final = timedelta(seconds=1)


class _Unclear(Exception):
    """The answers do not allow to tell; the message says why."""


async def ends(asker: Asker, place: Place) -> list[Fact]:
    """Looks at one record that stands alone, from both sides: narrow ranges, so that no page is cut."""
    span = place.span
    if any(row[0].microsecond % 1000 for row in place.rows):
        why = "records have times finer than a millisecond"
        return [judge.unknown("ends", why), judge.unknown("sub_second", why)]
    seconds = _is_written_alike(asker, span)
    row = _lonely(place.rows, span, on_second=seconds)
    if row is None:
        where = "at a whole second, as the source's times are written" if seconds else "inside of a second"
        why = f"no record stands alone in its instant, {where}"
        return [judge.unknown("ends", why), judge.unknown("sub_second", why)]
    try:
        return await _ends(asker, row, place.top, seconds=seconds)
    except _Unclear as unclear:
        return [judge.unknown("ends", str(unclear)), judge.unknown("sub_second", str(unclear))]


async def _ends(asker: Asker, row: Row, top: int, *, seconds: bool) -> list[Fact]:
    at, key = row[0], row[1]

    async def comes(start: datetime, end: datetime) -> bool:
        page = await asker.page(start, end, limit=top)
        return any(one[1] == key for one in page.rows)

    async def from_start(moment: datetime) -> bool:
        return await comes(moment, max(at, moment) + _SECOND)

    async def to_end(moment: datetime) -> bool:
        return await comes(min(at, moment) - _SECOND, moment)

    if not await comes(at - _SECOND, at + _SECOND):
        raise _Unclear("a record does not come with the second before and behind it")
    if seconds:
        found = judge.ends(at_start=await from_start(at), at_end=await to_end(at))
        return [found, judge.unknown("sub_second", "the source's times are written in whole seconds")]
    second = at.replace(microsecond=0)
    start = await _end(from_start, at, _MS, inner=second + _SECOND - _MS, outer=second)
    end = await _end(to_end, at, -_MS, inner=second, outer=second + _SECOND - _MS)
    return [judge.ends(at_start=start.inside, at_end=end.inside), judge.sub_second(start, end)]


async def _end(
    comes: Callable[[datetime], Awaitable[bool]],
    at: datetime,
    step: timedelta,
    *,
    inner: datetime,
    outer: datetime,
) -> End:
    """How one end counts. `step` leads into the range, `inner` is the last moment of the record's second in
    that direction, `outer` the last in the other."""
    is_inside = await comes(at)
    if is_inside != await comes(at + step if is_inside else at - step):
        return End(inside=is_inside, cut=False)
    last = inner if is_inside else outer - step
    if not await comes(last) or await comes(last + step):
        raise _Unclear("ranges end neither at the millisecond asked for nor at the second")
    return End(inside=is_inside, cut=True)


def _lonely(rows: list[Row], span: Span, *, on_second: bool) -> Row | None:
    """The one farthest from any other, of those well inside of the span that lie on a whole second, or not
    at the very start or end of one."""
    rows = sorted({row[1]: row for row in rows}.values())
    times = [span.start, *(row[0] for row in rows), span.end]
    apart = [
        (min(at - before, after - at), row)
        for row, before, at, after in zip(rows, times, times[1:], times[2:], strict=False)
        if (at.microsecond == 0 if on_second else 1 <= at.microsecond // 1000 <= 998)
        and min(at - span.start, span.end - at) > 2 * _SECOND
    ]
    gap, row = max(apart, default=(timedelta(0), None))
    return row if gap else None


def _is_written_alike(asker: Asker, span: Span) -> bool:
    """Whether the millisecond of an end of a range is not asked for at all."""

    def written(start: datetime) -> object:
        return asker.dialect.request(Ask(start=start, end=span.end, limit=1, offset=0, order_by=None))

    second = span.start.replace(microsecond=0)
    return written(second) == written(second + _MS)


async def order(asker: Asker, place: Place) -> list[Fact]:
    """Of the order that the job asks for, of that by date, and of records of one instant."""
    dialect = asker.dialect
    by_key, by_date = dialect.order_by, dialect.date_field
    if "order_by" not in dialect.places or by_key is None or by_date is None:
        why = "the dialect asks for no order"
        return [judge.unknown(name, why) for name in ("order", "order_by_date", "ties")]
    facts = []
    rows = [row for row in place.rows if place.span.contains(row[0])]
    if by_key in dialect.key_fields and len(dialect.key_fields) == 1:
        facts.append(judge.order("order", by_key, [row[1] for row in rows]))
    elif by_key == by_date:
        facts.append(judge.order("order", by_key, [row[0] for row in rows]))
    else:
        facts.append(judge.unknown("order", f"{by_key} is neither the key nor the date"))
    page = await _or_none(asker, place.span.start, place.span.end, limit=place.top, order_by=by_date)
    if page is None:
        facts.append(Fact(name="order_by_date", value="refused", told="refused"))
        return [*facts, judge.unknown("ties", "the order by date is refused")]
    rows = [row for row in page.rows if place.span.contains(row[0])]
    facts.append(judge.order("order_by_date", by_date, [row[0] for row in rows]))
    return [*facts, await _ties(asker, by_date, place.top)]


async def _ties(asker: Asker, by_date: str, top: int) -> Fact:
    """The instant that the most records share, of all that came so far; a second wider on both sides, since
    either end may be left out, or all of its second."""
    if asker.noted.instant is None:
        return judge.unknown("ties", "no two records of one instant where the probe looked")
    count, at = asker.noted.instant
    readings: list[list[Key]] = []
    for _ in range(judge.readings(count)):
        page = await asker.page(at - _SECOND, at + _SECOND, limit=top, order_by=by_date)
        readings.append([row[1] for row in page.rows if row[0] == at])
        if len(readings) > 1 and judge.ties(readings).value == "change":
            break
    return judge.ties(readings)


async def offset(asker: Asker, place: Place, ladder: Ladder) -> list[Fact]:
    """Of the next page, of one far away, and of one behind the last record."""
    if asker.dialect.paging == "none" or "offset" not in asker.dialect.places:
        return [
            judge.unknown(name, "the dialect has no offset") for name in ("offset", "past_end", "deep_offset")
        ]
    step = await _next_page(asker, place, ladder)
    behind = await _behind(asker, place.span, place.rows, place.items)
    if behind.value == "refused" and step.value != "refused":
        behind = await _behind_few(asker, place) or behind
    return [step, behind, await _far(asker, ladder.span, step, behind)]


async def _next_page(asker: Asker, place: Place, ladder: Ladder) -> Fact:
    """In the place, where pages smaller than that are served; else of all. Not far: depth is another
    matter."""
    span, limit, items = place.span, min(place.items // 3, _SOME), place.items
    first = await asker.page(span.start, span.end, limit=limit) if limit >= _FEW else None
    if first is None or size(first) >= items:
        span, limit, items = ladder.span, min(place.top, _SOME), ladder.least
        first = await asker.page(span.start, span.end, limit=limit)
    start, end, count = span.start, span.end, size(first)
    second = await _or_none(asker, start, end, limit=limit, offset=count)
    if second is None:
        one = await _or_none(asker, start, end, limit=limit, offset=1)
        return judge.small_offset(_keys(first), None if one is None else _keys(one), refused=count)
    between = None
    if second.rows and not (first.rejects or second.rejects):
        between = await _or_none(asker, start, end, limit=limit, offset=count - 1)
    return judge.offset(
        _keys(first),
        _keys(second),
        between=None if between is None else _keys(between),
        again=_keys(await asker.page(start, end, limit=limit)),
        follow=count < items,
    )


async def _behind(asker: Asker, span: Span, rows: list[Row], items: int) -> Fact:
    page = await _or_none(asker, span.start, span.end, limit=max(2, items // 3), offset=items + 1)
    return judge.past_end({row[1] for row in rows}, None if page is None else _keys(page))


async def _behind_few(asker: Asker, place: Place) -> Fact | None:
    """An offset may be refused for its depth as well: the same behind a few records tells."""
    at = place.rows[len(place.rows) // 2][0]
    span = Span(start=at - _SECOND, end=at + _SECOND)
    page = await asker.page(span.start, span.end, limit=place.top)
    if not page.rows or size(page) >= place.items:
        return judge.unknown(
            "past_end", f"an Offset of {place.items + 1:,} is refused, perhaps for its depth"
        )
    return await _behind(asker, span, page.rows, size(page))


async def _far(asker: Asker, whole: Span, step: Fact, behind: Fact) -> Fact:
    if step.value == "ignored":
        return judge.unknown("deep_offset", "Offset is ignored")
    far = await _or_none(asker, whole.start, whole.end, limit=1, offset=DEPTH)
    if far is None and step.value != "refused" and behind.value not in ("empty", "repeats"):
        why = f"{DEPTH:,} is refused, perhaps as it lies behind the last record"
        return judge.unknown("deep_offset", why)
    if far is not None and not step.measured:
        return judge.unknown("deep_offset", f"{DEPTH:,} is served, perhaps as Offset is ignored")
    return judge.deep_offset(DEPTH, refused=far is None)


async def seek(asker: Asker, place: Place) -> list[Fact]:
    dialect = asker.dialect
    if "filter" not in dialect.places or len(dialect.key_fields) != 1:
        return [judge.unknown("seek", "the dialect has no filter, or no key of one field")]
    keys: list[Any] = sorted({row[1] for row in place.rows}, key=lambda key: (str(type(key)), key))
    if len(keys) < 4:
        return [judge.unknown("seek", "too few records")]
    middle = keys[len(keys) // 2]
    condition: dict[str, Any] = {dialect.key_fields[0]: {"$gt": middle}}
    own = dialect.selection.filter
    if isinstance(own, str):
        return [judge.unknown("seek", "the job's own filter is no table")]
    if own:
        condition = {"$and": [own, condition]}
    span, top = place.span, place.top
    page = await _or_none(asker, span.start, span.end, limit=top, filter=condition)
    wanted = {key for key in keys if key > middle}
    if page is not None and asker.noted.strays:
        return [judge.unknown("seek", _STRAYS)]
    found = judge.seek(set(keys), wanted, None if page is None else set(_keys(page)))
    if found.value == "wrong":
        all_again = set(_keys(await asker.page(span.start, span.end, limit=top)))
        again = set(_keys(await asker.page(span.start, span.end, limit=top, filter=condition)))
        if all_again != set(keys) or not page or again != set(_keys(page)) or not again <= all_again:
            return [judge.unknown("seek", "other records come than before, whatever the filter")]
    return [found]


def lateness(rows: list[Row], job: Job) -> list[Fact]:
    """Asks nothing: the records tell when they were written."""
    resolution = Resolution.HOUR if job.resolution is Resolution.AUTO else job.resolution
    period = {"QuarterHour": "quarter of an hour", "Hour": "hour", "Day": "day"}[resolution.value]
    newest = {row[1]: row for row in sorted(rows, key=itemgetter(2))}
    late = [
        written - windows.after(row[0], resolution, job.time_zone)
        for row in newest.values()
        if (written := _moment(row[2])) is not None
    ]
    if not late:
        return [judge.unknown("lateness", "records do not say when they were written")]
    return [judge.lateness(late, period)]


async def relative_days(asker: Asker, job: Job, now: datetime, top: int, *, may_be_cut: bool) -> list[Fact]:
    """Asks for yesterday in the server's words, in ours, and as UTC counts it. `may_be_cut`: a page of fewer
    than `top` may not be all."""
    declared, day = asker.dialect.declaration.relative, asker.dialect.declaration.resolutions.get("Day")
    body = asker.dialect.declaration.request.body
    if declared is None or body is None or day is None:
        return [judge.unknown("relative_days", "the dialect declares no relative periods")]
    ours = windows.relative_span(now, -1, -1, Resolution.DAY, job.time_zone)
    utc = windows.relative_span(now, -1, -1, Resolution.DAY, windows.zone("UTC"))
    ask = Ask(start=ours.start, end=ours.end, limit=top, offset=0, order_by=None)
    dialect = replace(asker.dialect, selection=replace(asker.dialect.selection, resolution=day))
    request = dialect.request(ask)
    told = orjson.loads(request.body or b"{}")
    for name, text in body.items():
        if text in ("{start}", "{end}"):
            told.pop(name, None)
    told |= {declared.start: -1, declared.end: -1, declared.zone: job.time_zone.key}
    try:
        theirs = await asker.send(replace(request, body=orjson.dumps(told)), ask)
    except Rejected:
        return [judge.unknown("relative_days", "the source refuses relative periods")]
    pages = [theirs, await asker.page(ours.start, ours.end - _MS, limit=top)]
    if not any(page.rows for page in pages):
        return [judge.unknown("relative_days", "there are no records of yesterday")]
    if utc != ours:
        pages.append(await asker.page(utc.start, utc.end - _MS, limit=top))
    if asker.noted.strays:
        return [judge.unknown("relative_days", _STRAYS)]
    relative, absolute, in_utc = (
        {row[1]: row[0] for row in page.rows} for page in (pages[0], pages[1], pages[-1])
    )
    return [
        judge.relative_days(
            relative,
            Day(span=ours, records=absolute),
            Day(span=utc, records=in_utc),
            zone=job.time_zone.key,
            whole=not may_be_cut and max(map(size, pages)) < top,
        )
    ]


async def _or_none(asker: Asker, start: datetime, end: datetime, **asked: Any) -> Page | None:
    """None where the source says no to this very request."""
    try:
        return await asker.page(start, end, **asked)
    except Rejected:
        return None


def _keys(page: Page) -> list[Key]:
    return [row[1] for row in page.rows]


def _moment(version: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(version)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
