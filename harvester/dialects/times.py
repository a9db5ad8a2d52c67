"""How a source writes times: the ends of a range in a request, and the date field of a record.

An end that the source cannot write exactly is moved outwards, never inwards: a start down, an end up, and
where a local time without offset happens twice, beyond both. So the range asked for always holds the range
that was meant.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from operator import attrgetter
from typing import Final

from harvester.dialects.schema import Date, Times
from harvester.windows import zone

# Times of a wall clock are counted from here, times without a zone.
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "auto": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
}
_EPOCH_UNITS: Final = {"epoch_s": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
_TIMESPECS: Final = {"us": "microseconds", "ms": "milliseconds", "s": "seconds"}
_KINDS: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    type(None): "null",
}
_ZONE: Final = attrgetter("tzinfo")
_MILLISECONDS_FROM: Final = 1e11
"""In `auto`, a number from here on counts milliseconds: as seconds it would be the year 5138."""


class TimeWriter:
    """Writes the ends of a range as `times` declares; ValueError for a pattern that writes no time."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._zone = UTC if times.format in _EPOCH_UNITS else zone(times.zone)
        pattern = None if times.format == "iso" or times.format in _EPOCH_UNITS else times.format
        if times.format in _EPOCH_UNITS:
            self._unit, self._is_bare = _EPOCH_UNITS[times.format], False
        elif pattern is None:
            self._unit, self._is_bare = _UNITS[times.precision], times.offset == "none"
        else:
            self._unit, self._is_bare = _unit_of(pattern), _is_bare(pattern)
        self._is_plain = (
            times.format == "iso"
            and times.zone == "UTC"
            and not self._is_bare
            and times.precision in ("ms", "auto")
        )
        """UTC to the millisecond: what is asked nearly always needs no arithmetic."""
        self._offset = self._offset_text(timedelta())

    def is_exact(self, moment: datetime) -> bool:
        """Whether `moment` can be written without being moved."""
        return self._placed(moment, up=True) == self._placed(moment, up=False)

    def write(self, moment: datetime, *, up: bool) -> str | int:
        """`up` where it is the end of a range."""
        if self._is_plain and moment.tzinfo is UTC and not moment.microsecond % 1000:
            if moment.microsecond or self._times.precision == "ms":
                return moment.isoformat(timespec="milliseconds")[:-6] + self._offset
            return moment.isoformat(timespec="seconds")[:-6] + self._offset
        wall, offset = self._placed(moment, up=up)
        if self._times.format in _EPOCH_UNITS:
            return (wall - _EPOCH) // self._unit
        if self._times.format != "iso":
            return wall.replace(tzinfo=timezone(offset)).strftime(self._times.format)
        precision = self._times.precision
        if precision == "auto":
            precision = "ms" if wall.microsecond else "s"
        return wall.isoformat(timespec=_TIMESPECS[precision]) + self._offset_text(offset)

    def _placed(self, moment: datetime, *, up: bool) -> tuple[datetime, timedelta]:
        local = moment.astimezone(self._zone)
        offset = local.utcoffset() or timedelta()
        wall = local.replace(tzinfo=None)
        if self._is_bare:
            other = local.replace(fold=1 - local.fold).utcoffset() or timedelta()
            wall += abs(offset - other) * (1 if up else -1)
        beyond = (wall - _EPOCH) % self._unit
        if beyond:
            wall += self._unit - beyond if up else -beyond
        return wall, offset

    def _offset_text(self, offset: timedelta) -> str:
        style = self._times.offset
        if style in ("none", "Z"):
            return "" if style == "none" else "Z"
        minutes = abs(offset) // timedelta(minutes=1)
        colon = ":" if style == "+00:00" else ""
        return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02d}{colon}{minutes % 60:02d}"


def _unit_of(pattern: str) -> timedelta:
    """The smallest step that shows in what `pattern` writes."""
    some = datetime(2001, 2, 3, 4, 5, 6, 123456, tzinfo=UTC)
    steps = {"microseconds": 1, "milliseconds": 1, "seconds": 1, "minutes": 1, "hours": 1, "days": 1}
    for unit, count in steps.items():
        step = timedelta(**{unit: count})
        if (some + step).strftime(pattern) != some.strftime(pattern):
            return step
    raise ValueError(
        f"{pattern!r} writes no time; write iso, epoch_s, epoch_ms or a pattern as %Y-%m-%dT%H:%M:%S"
    )


def _is_bare(pattern: str) -> bool:
    """Whether `pattern` writes no offset."""
    some = datetime(2001, 2, 3, tzinfo=UTC)
    there = some.replace(tzinfo=timezone(timedelta(hours=1)))
    return some.strftime(pattern) == there.strftime(pattern)


def time_reader(date: Date) -> Callable[[object], datetime]:
    """Makes an aware time in UTC of a date field's value, as JSON holds it. ValueError says what it is
    instead; OverflowError, that no calendar has such a day."""
    local = zone(date.zone)

    def in_utc(moment: datetime) -> datetime:
        if moment.tzinfo is UTC:
            return moment
        return (moment if moment.tzinfo else moment.replace(tzinfo=local)).astimezone(UTC)

    def iso(value: object) -> datetime:
        if type(value) is not str:
            raise ValueError(f"{date.path} is {kind_of(value)}, not text")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{date.path} is no ISO 8601 time") from None
        return moment if moment.tzinfo is UTC else in_utc(moment)

    def number(value: object, unit: timedelta) -> datetime:
        if type(value) is not int and type(value) is not float:
            raise ValueError(f"{date.path} is {kind_of(value)}, not a number")
        return _EPOCH_UTC + value * unit

    def auto(value: object) -> datetime:
        if type(value) is str:
            return iso(value)
        is_long = type(value) in (int, float) and abs(value) >= _MILLISECONDS_FROM  # type: ignore[arg-type]
        return number(value, _EPOCH_UNITS["epoch_ms" if is_long else "epoch_s"])

    def patterned(value: object) -> datetime:
        if type(value) is not str:
            raise ValueError(f"{date.path} is {kind_of(value)}, not text")
        try:
            moment = datetime.strptime(value, date.format)  # noqa: DTZ007
        except ValueError:
            raise ValueError(f"{date.path} is not written as {date.format}") from None
        return in_utc(moment)

    if date.format in _EPOCH_UNITS:
        return lambda value: number(value, _EPOCH_UNITS[date.format])
    return {"iso": iso, "auto": auto}.get(date.format, patterned)


def times_reader(date: Date) -> Callable[[list[object]], list[datetime]]:
    """The same for many values at once."""
    one = time_reader(date)

    def each(values: list[object]) -> list[datetime]:
        return list(map(one, values))

    def iso(values: list[object]) -> list[datetime]:
        """All in one go where all are text in UTC, as they are on nearly every page."""
        if set(map(type, values)) <= {str}:
            try:
                moments = list(map(datetime.fromisoformat, values))  # type: ignore[arg-type]
            except ValueError:
                return each(values)  # says what is wrong
            if set(map(_ZONE, moments)) <= {UTC}:
                return moments
        return each(values)

    return iso if date.format in ("iso", "auto") else each


def kind_of(value: object) -> str:
    """What a value is called in JSON."""
    return _KINDS.get(type(value), "an object")
