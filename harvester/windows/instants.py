"""Instants: aware times held in UTC, and as whole seconds since 1970. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
EARLIEST: Final = datetime(2, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""With EARLIEST a year of room at both ends of datetime's range, for what lies around a time in any zone."""


def second_of(moment: datetime) -> int:
    """Seconds since 1970, rounded down."""
    return (moment - EPOCH) // SECOND


def moment_at(at: int) -> datetime:
    return EPOCH + timedelta(seconds=at)


def in_utc(t: datetime) -> datetime:
    if t.tzinfo is None:
        raise ValueError(f"{as_text(t)} has no time zone")
    try:
        moment = t.astimezone(UTC)
    except OverflowError:
        moment = t.replace(tzinfo=UTC)  # within a day of datetime's ends, and so refused below
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"{as_text(moment)} is not within the years 2 to 9998")
    return moment


def as_text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
