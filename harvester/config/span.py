"""From when to when: the [span] section read against its zone and the clock."""

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from harvester.config.loading import Config
from harvester.errors import ConfigError
from harvester.windows import Resolution, Span, parse_time, relative_span, zone

_LONGEST: Final = timedelta(days=366 * 200)
"""A span of centuries is a typing error in a year, and would be tiled into millions of windows all the
same.
"""


def zone_of(config: Config) -> ZoneInfo:
    try:
        return zone(config.span.time_zone)
    except ValueError as error:
        raise config.wrong("span.time_zone", str(error)) from None


def span_of(config: Config, time_zone: ZoneInfo, resolution: Resolution, now: datetime) -> Span:
    span = config.span
    absolute = {"span.start": span.start, "span.end": span.end}
    relative = {"span.from_period": span.from_period, "span.to_period": span.to_period}
    _one_whole_form(config, absolute, relative)
    if span.from_period is not None and span.to_period is not None:
        return _relative(config, span.from_period, span.to_period, time_zone, resolution, now)
    start, end = (_moment(config, key, value, time_zone) for key, value in absolute.items())
    if start >= end:
        same = "is the same instant as" if start == end else "is before"
        raise config.wrong("span.end", f"{same} span.start ({start.isoformat()})", "end is after start")
    if end - start > _LONGEST:
        raise config.wrong(
            "span.end", "is more than 200 years after span.start", "is there a digit too many?"
        )
    return Span(start=start, end=end)


def _one_whole_form(config: Config, *forms: dict[str, Any]) -> None:
    both = "give start and end, or from_period and to_period, but not both"
    given = [[key for key, value in form.items() if value is not None] for form in forms]
    match given:
        case [[], []]:
            raise ConfigError(f"{config.path}: span: from when to when is missing; {both}")
        case [[absolute, *_], [relative, *_]]:
            raise config.wrong(absolute, f"stands beside {relative} ({config.origins[relative]})", both)
        case [[alone], []] | [[], [alone]]:
            other = next(key for form in forms if alone in form for key in form if key != alone)
            raise config.wrong(alone, f"stands without {other}", "give both")


def _moment(config: Config, key: str, value: Any, time_zone: ZoneInfo) -> datetime:
    try:
        moment = parse_time(value, time_zone)
    except ValueError as error:
        raise config.wrong(key, str(error)) from None
    if not 1900 <= moment.year <= 2200:
        raise config.wrong(
            key, f"is in the year {moment.year}", "no records are from there; years are 1900 to 2200"
        )
    return moment


def _relative(
    config: Config, first: int, last: int, time_zone: ZoneInfo, resolution: Resolution, now: datetime
) -> Span:
    if first > last:
        raise config.wrong(
            "span.from_period",
            f"{first} is after span.to_period ({last})",
            "the earlier one comes first, as in -7 to -1",
        )
    try:
        span = relative_span(now, first, last, resolution, time_zone)
    except (ValueError, OverflowError) as error:
        raise config.wrong(
            "span.from_period", f"cannot be counted from now: {error}", "use fewer periods"
        ) from None
    if span.end - span.start > _LONGEST:
        raise config.wrong(
            "span.from_period", "is more than 200 years before span.to_period", "use fewer periods"
        )
    return span
