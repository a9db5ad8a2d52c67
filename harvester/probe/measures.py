"""One small function for each measurement: it asks what it must, and judge.py says what the answers mean."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from harvester import windows
from harvester.contract import Fact
from harvester.dialects import Ask, Key, Page, Row
from harvester.errors import Rejected
from harvester.job import Job
from harvester.probe import judge
from harvester.probe.asker import Asker
from harvester.probe.place import Place
from harvester.windows import Resolution, Span

READINGS: Final = 3
DEPTH: Final = 10_000
_MS: Final = timedelta(milliseconds=1)
_SECOND: Final = timedelta(seconds=1)


async def ends(asker: Asker, place: Place) -> list[Fact]:
    row = _lonely(place.rows, place.span)
    if row is None:
        why = "no record stands alone in its instant, inside of a second"
        return [judge.unknown("ends", why), judge.unknown("sub_second", why)]
    at, key = row[0], row[1]

    async def holds(start: datetime, end: datetime) -> bool:
        page = await asker.page(start, end, limit=place.top)
        return any(one[1] == key for one in page.rows)

    start, end = place.span.start, place.span.end
    found = judge.ends(at_start=await holds(at, end), at_end=await holds(start, at))
    if _is_written_alike(asker, place.span, at):
        why = "the source's times are written in whole seconds"
        return [found, judge.unknown("sub_second", why)]
    after, before = await holds(at + _MS, end), await holds(start, at - _MS)
    return [found, judge.sub_second(after_start=after, before_end=before)]


def _lonely(rows: list[Row], span: Span) -> Row | None:
    """The middle one of those that are alone in their instant, which is neither the first nor the last
    millisecond of its second, nor an end of the span."""
    count = Counter(row[0] for row in rows)
    fit = sorted(
        row
        for row in rows
        if count[row[0]] == 1
        and 1 <= row[0].microsecond // 1000 <= 998
        and span.start + _SECOND < row[0] < span.end - _SECOND
    )
    return fit[len(fit) // 2] if fit else None


def _is_written_alike(asker: Asker, span: Span, at: datetime) -> bool:
    def written(start: datetime) -> object:
        return asker.dialect.request(Ask(start=start, end=span.end, limit=1, offset=0, order_by=None))

    return written(at) == written(at + _MS)


async def order(asker: Asker, place: Place) -> list[Fact]:
    """Of the order that the job asks for, of that by date, and of records of one instant."""
    dialect = asker.dialect
    by_key, by_date = dialect.order_by, dialect.date_field
    if "order_by" not in dialect.places or by_key is None or by_date is None:
        why = "the dialect asks for no order"
        return [judge.unknown(name, why) for name in ("order", "order_by_date", "ties")]
    facts = []
    if by_key in dialect.key_fields and len(dialect.key_fields) == 1:
        facts.append(judge.order("order", by_key, [row[1] for row in place.rows]))
    elif by_key == by_date:
        facts.append(judge.order("order", by_key, [row[0] for row in place.rows]))
    else:
        facts.append(judge.unknown("order", f"{by_key} is neither the key nor the date"))
    page = await _or_none(asker, place.span.start, place.span.end, limit=place.top, order_by=by_date)
    if page is None:
        facts.append(Fact(name="order_by_date", value="refused", told="refused"))
        return [*facts, judge.unknown("ties", "the order by date is refused")]
    facts.append(judge.order("order_by_date", by_date, [row[0] for row in page.rows]))
    return [*facts, await _ties(asker, by_date, place.top)]


async def _ties(asker: Asker, by_date: str, top: int) -> Fact:
    """The instant that the most records share, of all that came so far; a millisecond wider on both sides,
    since either end may be left out."""
    if asker.noted.instant is None:
        return judge.unknown("ties", "no two records of one instant where the probe looked")
    at = asker.noted.instant[1]
    readings: list[list[Key]] = []
    for _ in range(READINGS):
        page = await asker.page(at - _MS, at + _MS, limit=top, order_by=by_date)
        readings.append([row[1] for row in page.rows if row[0] == at])
    return judge.ties(readings)


async def offset(asker: Asker, place: Place, whole: Span) -> list[Fact]:
    """Of the next page, of one far away, and of one behind the last record."""
    if asker.dialect.paging == "none" or "offset" not in asker.dialect.places:
        return [
            judge.unknown(name, "the dialect has no offset") for name in ("offset", "past_end", "deep_offset")
        ]
    keys = [row[1] for row in place.rows]
    size = len(keys) // 3
    start, end = place.span.start, place.span.end
    facts: list[Fact] = []
    if size < 2:
        facts.append(judge.unknown("offset", "too few records"))
    else:
        first = await asker.page(start, end, limit=size)
        if len(first.rows) >= len(keys):
            facts.append(judge.unknown("offset", "the first page holds all that the probe works with"))
        else:
            second = await _or_none(asker, start, end, limit=size, offset=len(first.rows))
            got = None if second is None else _keys(second)
            facts.append(judge.offset(_keys(first), got, all_keys=keys))
    behind = await _or_none(asker, start, end, limit=max(2, size), offset=len(keys) + 1)
    facts.append(judge.past_end(None if behind is None else len(behind.rows)))
    far = await _or_none(asker, whole.start, whole.end, limit=1, offset=DEPTH)
    return [*facts, judge.deep_offset(DEPTH, refused=far is None)]


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
    page = await _or_none(asker, place.span.start, place.span.end, limit=place.top, filter=condition)
    wanted = {key for key in keys if key > middle}
    return [judge.seek(set(keys), wanted, None if page is None else set(_keys(page)))]


def lateness(rows: list[Row], job: Job) -> list[Fact]:
    """Asks nothing: the records tell when they were written."""
    resolution = Resolution.HOUR if job.resolution is Resolution.AUTO else job.resolution
    period = {"QuarterHour": "quarter of an hour", "Hour": "hour", "Day": "day"}[resolution.value]
    late = [
        written - windows.after(row[0], resolution, job.time_zone)
        for row in rows
        if (written := _moment(row[2])) is not None
    ]
    if not late:
        return [judge.unknown("lateness", "records do not say when they were written")]
    return [judge.lateness(late, period)]


async def relative_days(asker: Asker, job: Job, now: datetime, top: int) -> list[Fact]:
    """Asks for yesterday in the server's words and in ours."""
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
    absolute = await asker.page(ours.start, ours.end, limit=top)
    if not theirs.rows and not absolute.rows:
        return [judge.unknown("relative_days", "there are no records of yesterday")]
    times = {row[1]: row[0] for row in theirs.rows}
    return [
        judge.relative_days(
            times,
            {row[1] for row in absolute.rows if ours.contains(row[0])},
            zone=job.time_zone.key,
            inside_utc=bool(times) and all(map(utc.contains, times.values())),
            whole=max(len(theirs.rows), len(absolute.rows)) < top,
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
