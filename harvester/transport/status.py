"""What a status means: the one table, and how long the server asks everybody to wait. Pure.

    ==========================  ==============  ===============================================
    200                         an answer
    other 2xx                   ServerFailed    a part of one, or what something on the way made of it
    3xx                         Astray          redirects are not followed: the token stays here
    401                         Unauthorized    Refused, unless a new token comes (see auth)
    403                         Refused
    404, 405, 409, 410, 421,    Astray          as proxies say while the server behind them is exchanged
    423, 425
    408                         ServerFailed    it gave up on us; may have been busy
    429, 503                    Throttled       a 503 without Retry-After perhaps by chance
    other 4xx                   Rejected
    other 5xx                   ServerFailed
    4xx, 5xx with Retry-After   Throttled       but 401 and 403, which waiting does not cure
    ==========================  ==============  ===============================================

How long: `Retry-After` in seconds, with a fraction or not, or as a date, which is compared with the
answer's own `Date` so that a clock that goes wrong, here or there, does no harm. On a 429 without one the
reset of `RateLimit` or `X-RateLimit-Reset`, in seconds or as Unix time, where nothing remains. What cannot
be read is ignored, and so is a pause of 0 s or a time that is over: who asks for none leaves it to us how
long to wait, as one does who says nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from yarl import URL

from harvester.errors import Astray, Refused, Rejected, ServerFailed, SourceError, Throttled

MAX_RETRY_AFTER_S: Final = 3600.0
"""The longest pause that a server gets: quotas by the hour exist. Who asks for more is taken to be mistaken
and gets what one gets that answers nobody, `max_outage_s`, and this at most. After it one request asks again,
so a server that means it says so again."""
_TELLABLE_S: Final = 1e9
"""Thirty years and more; a message that repeats a larger number says nothing by it."""

_ON_THE_WAY: Final = {404, 405, 409, 410, 421, 423, 425}

_EPOCH_FROM: Final = 1e9  # a reset beyond 30 years is no span but a point in time
_EPOCH_MS_FROM: Final = 1e12
_NUMBER: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)
_REMAINING_IN_LIST: Final = re.compile(r"(?:^|[;,\s])(?:remaining|r)\s*=\s*\"?(\d+)", re.ASCII)
_RESET_IN_LIST: Final = re.compile(r"(?:^|[;,\s])(?:reset|t)\s*=\s*\"?(\d+(?:\.\d+)?)", re.ASCII)
_NEXT_QUOTA: Final = re.compile(r",(?=\s*\")")  # an earlier draft has commas inside of the one quota


class Unauthorized(Refused):
    """A 401: a new token may cure it. For everybody above auth it is a Refused."""


def failure(
    status: int, headers: Mapping[str, str], *, what: str, now: datetime, max_outage_s: float
) -> SourceError | None:
    """The error that the answer amounts to, not yet raised; None for a good one. Header names are in lower
    case; `what` names the request, `now` stands in for a missing `Date`, and `max_outage_s` for a pause of
    more than `MAX_RETRY_AFTER_S`."""
    if status == 200:
        return None
    if 200 <= status < 300:
        return ServerFailed(f"{what}: {status}, which is no whole answer; those come with 200")
    if status == 401:
        return Unauthorized(f"{what}: 401, the server does not accept the token")
    if status == 403:
        return Refused(
            f"{what}: 403, the token is known but its user may not see this; ask for the right to it"
        )
    if 300 <= status < 400:
        return Astray(
            f"{what}: {status}, the server redirects{_target(headers.get('location'))}; redirects are not "
            "followed, since the token would go along. Set source.base_url to where the API is",
            status_code=status,
        )
    asked_s = _retry_after_s(headers, now) or None
    if status == 429 and asked_s is None:
        asked_s = _reset_s(headers, now) or None
    if status in (429, 503) or asked_s is not None:
        gets_s = None if asked_s is None else _granted_s(asked_s, max_outage_s)
        return Throttled(
            f"{what}: {status}{_asks(asked_s, gets_s)}",
            retry_after_s=gets_s,
            may_be_chance=status == 503 and asked_s is None,
        )
    if status == 408 or 500 <= status < 600:
        return ServerFailed(f"{what}: {status}, the server failed")
    meaning = Astray if status in _ON_THE_WAY else Rejected
    return meaning(f"{what}: {status}, the server does not accept this request", status_code=status)


def announced(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that speak of a rate, however they are spelt."""
    return {name: text for name, text in headers.items() if "ratelimit" in name.replace("-", "")}


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    until = http_date(text)
    return None if until is None else max(0.0, (until - _server_now(headers, now)).total_seconds())


def _reset_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """From the three spellings in use; the draft's later ones put all into one `RateLimit` header, and the
    latest one has an item there for each quota: of those that ran out the longest rules."""
    quotas = [
        (_found(_REMAINING_IN_LIST, item), _found(_RESET_IN_LIST, item))
        for item in _NEXT_QUOTA.split(headers.get("ratelimit", ""))
    ]
    waits = [_wait_s(*quota, headers, now) for quota in quotas]
    if told := [wait_s for wait_s in waits if wait_s is not None]:
        return max(told)
    for kind in ("ratelimit", "x-ratelimit"):
        wait_s = _wait_s(headers.get(f"{kind}-remaining"), headers.get(f"{kind}-reset"), headers, now)
        if wait_s is not None:
            return wait_s
    return None


def _wait_s(
    remaining: str | None, reset: str | None, headers: Mapping[str, str], now: datetime
) -> float | None:
    if reset is None or not _NUMBER.fullmatch(reset.strip()):
        return None
    if remaining is not None and remaining.strip() not in ("0", ""):
        return None  # something is left of this quota: it was another that ran out
    value = float(reset.strip())
    if value >= _EPOCH_MS_FROM:
        value /= 1000
    return value if value < _EPOCH_FROM else max(0.0, value - _server_now(headers, now).timestamp())


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else match[1]


def _server_now(headers: Mapping[str, str], now: datetime) -> datetime:
    return http_date(headers.get("date", "")) or now


@lru_cache(maxsize=4)  # a second of answers has but one
def http_date(text: str) -> datetime | None:
    """The time in a header, aware; None where it is none."""
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def _granted_s(asked_s: float, max_outage_s: float) -> float:
    return asked_s if asked_s <= MAX_RETRY_AFTER_S else min(max_outage_s, MAX_RETRY_AFTER_S)


def _asks(asked_s: float | None, gets_s: float | None) -> str:
    if asked_s is None:
        return ", the server asks for fewer requests"
    if asked_s == gets_s:
        return f", the server asks to wait {asked_s:.3g} s"
    told = f"{asked_s:.0f} s" if asked_s < _TELLABLE_S else "for more than thirty years"
    return f", the server asks to wait {told}, far too long: it gets {gets_s:.0f} s"


def _target(location: str | None) -> str:
    """Where to, without query, fragment and user: any of them may hold a secret."""
    if location is None:
        return ""
    try:
        url = URL(location)
        return f" to {url.with_query(None).with_fragment(None).with_user(None) if url.absolute else url.path}"
    except ValueError:
        return " to something that is no URL"
