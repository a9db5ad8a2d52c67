"""Zones and times as people write them. Reads no clock, and no files but the tz database (the system's, else
the package tzdata).
"""

import re
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from harvester.windows.instants import EARLIEST, LATEST, in_utc
from harvester.windows.local_clock import first_showing, shown_at


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; ValueError names the nearest known one.

    Only what zoneinfo lists: no "right/..." (leap seconds); and no "localtime", another zone on each machine.
    """
    if not name.startswith(("right/", "posix/")) and name not in ("localtime", "posixrules"):
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            pass  # listing all zones reads some 600 files: only for the hint
    names = available_timezones() - {"localtime"}
    folded = {known.casefold(): known for known in sorted(names)}
    city = [whole for whole in folded if whole.endswith("/" + name.casefold())]
    near = city or get_close_matches(name.casefold(), folded, n=1, cutoff=0.86)  # less, and CEST becomes EST
    hint = f"did you mean {folded[near[0]]}?" if near else "use an IANA name such as Europe/Berlin"
    raise ValueError(f"time zone {name!r} is not known; {hint}")


_WRITE = "write 2024-01-01T00:00:00Z, or a date such as 2024-01-01"
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,3}(?P<beyond_ms>[0-9]*))?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def parse_time(value: str | date | datetime, tz: ZoneInfo) -> datetime:
    """An ISO 8601 text, a date or a datetime, as an instant in UTC; ValueError for all else and below 1 ms.

    What carries no offset is read on the clock of `tz`, a date alone as its midnight. A reading that the
    clock skips is the instant of the jump, one that it shows twice is the first: a date is where its
    partition starts.
    """
    written = value
    if isinstance(value, str):
        value = _read_iso(value)
    if isinstance(value, datetime):
        if value.microsecond % 1000:
            raise ValueError(f"{str(written)!r} is finer than a millisecond, the unit that record times have")
    elif isinstance(value, date):
        value = datetime.combine(value, time.min)
    else:
        raise ValueError(f"{written!r} is no time; {_WRITE}")
    if value.tzinfo is not None:
        return in_utc(value)
    if not EARLIEST <= value.replace(tzinfo=UTC) <= LATEST:
        raise ValueError(f"{str(written)!r} is not within the years 2 to 9998")
    if value.fold and shown_at(value.replace(tzinfo=tz).astimezone(UTC), tz) == value:
        return value.replace(tzinfo=tz).astimezone(UTC)
    return first_showing(value, tz)


def _read_iso(text: str) -> datetime:
    """fromisoformat alone takes any separator and drops digits beyond the sixth without a word."""
    shape = _ISO.fullmatch(text)
    if shape is None:
        raise ValueError(f"{text!r} is no ISO 8601 time; {_WRITE}")
    if (shape["beyond_ms"] or "").strip("0"):
        raise ValueError(f"{text!r} is finer than a millisecond, the unit that record times have")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: {error}") from None
