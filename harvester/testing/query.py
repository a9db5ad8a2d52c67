"""A request body becomes a Query, a Query becomes the rows of one page: what the API's page says, to the
letter.

Unknown and misspelt parameters, both forms of the range or neither, a Limit of 0: all are answered with 400
here, so that a client's slip shows. Absolute and relative ranges both become instants; ends count as `ends`
says.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from .filters import Predicate, compile_filter, value_at
from .table import Table

RESOLUTIONS = ("QuarterHour", "Hour", "Day")

PARAMETERS = frozenset(
    {
        *("StartDateTime", "EndDateTime", "RelativePeriodStart", "RelativePeriodEnd"),
        *("RelativeTimeZone", "RelativeTimezone", "DateFilterField", "Resolution"),
        *("Queues", "Filter", "Fields", "OrderBy", "Limit", "Offset"),
    }
)

_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BadRequest(Exception):
    """The server understood and says no: a 400 with these words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    start_us: int  # as asked, in microseconds; whether the ends count is the server's manner, not the query's
    end_us: int
    date_field: str
    filter: bytes = b""  # canonical JSON, empty where there is none
    queues: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()
    order_by: str = ""  # empty: by the date field
    limit: int | None = None
    offset: int = 0


def parse(body: dict[str, Any], *, date_field: str, now: datetime) -> Query:
    unknown = sorted(set(body) - PARAMETERS)
    if unknown:
        raise BadRequest(f"unknown parameter {unknown[0]}")
    start, end = asked_range(body, now)
    if start > end:
        raise BadRequest("EndDateTime is before StartDateTime")
    condition = body.get("Filter")
    if condition:
        try:
            compile_filter(condition)
        except ValueError as error:
            raise BadRequest(str(error)) from None
    limit = _whole(body, "Limit", 1)
    return Query(
        start_us=_micros(start),
        end_us=_micros(end),
        date_field=_text(body, "DateFilterField") or date_field,
        filter=orjson.dumps(condition, option=orjson.OPT_SORT_KEYS) if condition else b"",
        queues=tuple(_list(body, "Queues", int)),
        fields=tuple(_list(body, "Fields", str)),
        order_by=_text(body, "OrderBy") or "",
        limit=limit,
        offset=_whole(body, "Offset", 0) or 0,
    )


def asked_range(body: dict[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """Start and end of an absolute or a relative range; the end of a relative one is the last instant in
    it.
    """
    absolute = [name for name in ("StartDateTime", "EndDateTime") if body.get(name) is not None]
    relative = [name for name in ("RelativePeriodStart", "RelativePeriodEnd") if body.get(name) is not None]
    if len(absolute) == 2 and not relative:
        return _instant(body, "StartDateTime"), _instant(body, "EndDateTime")
    if len(relative) != 2 or absolute:
        raise BadRequest("give StartDateTime and EndDateTime, or RelativePeriodStart and RelativePeriodEnd")
    resolution = body.get("Resolution")
    if resolution not in RESOLUTIONS:
        raise BadRequest(f"Resolution must be one of {', '.join(RESOLUTIONS)}, not {resolution!r}")
    name = _text(body, "RelativeTimeZone") or _text(body, "RelativeTimezone") or "UTC"
    zone = zone_of(name)
    first, last = (_signed(body, name) for name in relative)
    if first > last:
        raise BadRequest("RelativePeriodEnd is before RelativePeriodStart")
    start = period(now, resolution, zone, first)
    return start, period(now, resolution, zone, last + 1) - timedelta(milliseconds=1)


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise BadRequest(f"no time zone {name!r}") from None


def period(now: datetime, resolution: str, zone: ZoneInfo, number: int) -> datetime:
    """The start of a period counted from the current one, which is 0. Days are local; shorter ones elapse."""
    local = now.astimezone(zone)
    if resolution == "Day":
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=number)
        return day.astimezone(UTC)
    minutes = 60 if resolution == "Hour" else 15
    into = timedelta(minutes=local.minute % minutes, seconds=local.second, microseconds=local.microsecond)
    return now.astimezone(UTC) - into + number * timedelta(minutes=minutes)


def bounds_ms(query: Query, ends: str) -> tuple[int, int]:
    """First and last millisecond that the range takes in, both counted."""
    start, end, step = query.start_us, query.end_us, 1
    if ends.endswith("seconds"):
        start, end, step = start // 1_000_000 * 1_000_000, end // 1_000_000 * 1_000_000, 1000
    low = start // 1000 + step if ends.startswith(("open", "end_only")) else -(-start // 1000)
    with_end = ends in ("inclusive", "seconds") or ends.startswith("end_only")
    high = end // 1000 + step - 1 if with_end else -(-end // 1000) - 1
    return low, high


class Selections:
    """Rows of a query in its order, before Limit and Offset; the last few are kept, since pages follow pages.

    `arrange` is where faults get at the order; what it does must follow from `variant` alone.
    """

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._kept: OrderedDict[tuple[object, ...], array[int]] = OrderedDict()

    def rows(
        self,
        table: Table,
        query: Query,
        ends: str,
        variant: object = None,
        arrange: Callable[["array[int]"], "array[int]"] | None = None,
    ) -> "array[int]":
        which = replace(query, limit=None, offset=0, fields=())
        name = (id(table), table.generation, which, ends, variant)
        known = self._kept.get(name)
        if known is None:
            known = select(table, query, ends)
            if arrange is not None:
                known = arrange(known)
            self._kept[name] = known
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return known


def select(table: Table, query: Query, ends: str) -> "array[int]":
    """All rows of the range that pass queues and filter, sorted as asked."""
    low, high = bounds_ms(query, ends)
    if query.date_field != table.fields.date and not table.has(query.date_field):
        raise BadRequest(f"DateFilterField: no field {query.date_field}")
    rows = table.index(query.date_field).between(low, high)
    if query.queues:
        queues = set(query.queues)
        rows = array("I", [n for n in rows if orjson.loads(table.row(n)).get("QueueId") in queues])
    if query.filter:
        condition = orjson.loads(query.filter)
        rows = _filtered(table, rows, condition, compile_filter(condition))
    return _ordered(table, rows, query.order_by, query.date_field)


def _filtered(table: Table, rows: "array[int]", condition: Any, holds: Predicate) -> "array[int]":
    key = table.fields.key
    if set(condition) == {key}:  # seek paging: the key alone is wanted, and it need not be decoded
        return array("I", [n for n in rows if holds({key: table.key(n)})])
    return array("I", [n for n in rows if holds(orjson.loads(table.row(n)))])


def _ordered(table: Table, rows: "array[int]", order_by: str, date_field: str) -> "array[int]":
    if order_by in ("", date_field):
        return rows
    if order_by == table.fields.key:
        return array("I", sorted(rows, key=table.key))
    if not table.has(order_by):
        raise BadRequest(f"OrderBy: no field {order_by}")
    return array("I", sorted(rows, key=lambda n: _sortable(value_at(orjson.loads(table.row(n)), order_by))))


def project(raw: bytes | memoryview, fields: tuple[str, ...]) -> bytes:
    """The record with the chosen fields only, in the record's own order, each value as it was written."""
    wanted = {name.partition(".")[0] for name in fields}
    pairs = [
        b'"%s":%s' % (name.encode(), value) for name, value in _RAW.decode(raw).items() if name in wanted
    ]
    return b"{" + b",".join(pairs) + b"}"


def _sortable(value: Any) -> tuple[int, Any]:
    """Mongo's order of kinds: nothing, numbers, texts, booleans, the rest by its JSON."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 3, value
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return 4, orjson.dumps(value)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _instant(body: dict[str, Any], name: str) -> datetime:
    text = body[name]
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadRequest(f"{name}: {text!r} is no ISO 8601 instant") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _signed(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a whole number, not {value!r}")
    return value


def _whole(body: dict[str, Any], name: str, least: int) -> int | None:
    if body.get(name) is None:
        return None
    value = _signed(body, name)
    if value < least:
        raise BadRequest(f"{name} must be {least} or more, not {value}")
    return value


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a text, not {value!r}")
    return value


def _list(body: dict[str, Any], name: str, kind: type) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(one) is kind for one in value):
        raise BadRequest(f"{name} must be a list of {kind.__name__}")
    return value
