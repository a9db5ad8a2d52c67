"""What a status means and how long the server asks everybody to wait."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import (
    Astray,
    HarvesterError,
    Refused,
    Rejected,
    ServerFailed,
    SourceError,
    Throttled,
    TransientError,
)
from harvester.transport.status import MAX_RETRY_AFTER_S, Unauthorized, failure

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
IN_A_MINUTE = "Mon, 23 Nov 2026 12:01:00 GMT"
AN_HOUR_AGO = "Mon, 23 Nov 2026 11:00:00 GMT"
EPOCH = NOW.timestamp()


MAX_OUTAGE_S = 300.0


def of(status: int, **headers: str) -> SourceError | None:
    return within(MAX_OUTAGE_S, status, **headers)


def within(max_outage_s: float, status: int, **headers: str) -> SourceError | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, named, what="POST /x", now=NOW, max_outage_s=max_outage_s)


def asked_s(status: int, **headers: str) -> float | None:
    error = of(status, **headers)
    assert isinstance(error, Throttled)
    return error.retry_after_s


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, None),
        (201, ServerFailed),
        (203, ServerFailed),
        (204, ServerFailed),
        (206, ServerFailed),
        (299, ServerFailed),
        (301, Astray),
        (302, Astray),
        (304, Astray),
        (307, Astray),
        (400, Rejected),
        (401, Unauthorized),
        (403, Refused),
        (404, Astray),
        (405, Astray),
        (408, ServerFailed),
        (409, Astray),
        (410, Astray),
        (413, Rejected),
        (421, Astray),
        (422, Rejected),
        (423, Astray),
        (425, Astray),
        (429, Throttled),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, Throttled),
        (504, ServerFailed),
        (520, ServerFailed),
        (599, ServerFailed),
        (999, Rejected),
    ],
)
def test_each_status_means_one_class(status: int, expected: type[HarvesterError] | None) -> None:
    error = of(status)
    assert type(error) is (expected or type(None))
    assert error is None or str(status) in str(error)
    assert not isinstance(error, Rejected) or error.status_code == status


@pytest.mark.parametrize(
    ("status", "headers", "may_be"),
    [
        (503, {}, True),
        (503, {"retry_after": "1"}, False),
        (503, {"retry_after": "0"}, True),
        (429, {}, False),
        (500, {"retry_after": "1"}, False),
    ],
)
def test_only_a_503_without_a_word_may_be_chance(status: int, headers: dict[str, str], may_be: bool) -> None:
    error = of(status, **headers)
    assert isinstance(error, Throttled)
    assert error.may_be_chance is may_be


@pytest.mark.parametrize("status", [400, 404, 408, 413, 500, 502, 504])
def test_whoever_says_when_to_come_back_throttles(status: int) -> None:
    assert asked_s(status, retry_after="2") == 2


@pytest.mark.parametrize("status", [401, 403])
def test_no_waiting_cures_a_refusal(status: int) -> None:
    error = of(status, retry_after="2")
    assert isinstance(error, Refused)
    assert not isinstance(error, TransientError)


@pytest.mark.parametrize("status", [200, 302])
def test_retry_after_says_nothing_about_an_answer_or_a_redirect(status: int) -> None:
    assert not isinstance(of(status, retry_after="2"), Throttled)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        # Who asks for no pause leaves it to us, as one does who says nothing: the waits grow.
        ({"retry_after": "0"}, None),
        ({"retry_after": "0.0"}, None),
        ({"retry_after": "17"}, 17),
        ({"retry_after": " 0.25 "}, 0.25),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "1e3"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Mon, 99 Nov 2026 12:01:00 GMT"}, None),
        ({"retry_after": f"Mon, {'9' * 30} Nov 2026 12:01:00 GMT"}, None),
        ({"retry_after": f"Mon, 23 Nov 2026 12:01:00 +{'9' * 30}"}, None),
        ({"retry_after": IN_A_MINUTE}, 60),
        ({"retry_after": IN_A_MINUTE, "date": f"Mon, {'9' * 30} Nov 2026 12:01:00 GMT"}, 60),
        ({"retry_after": AN_HOUR_AGO}, None),
        ({"retry_after": AN_HOUR_AGO, "date": IN_A_MINUTE}, None),
        # The server's clock is an hour behind: what counts is its own distance.
        ({"retry_after": "Mon, 23 Nov 2026 11:00:07 GMT", "date": AN_HOUR_AGO}, 7),
        ({"retry_after": IN_A_MINUTE, "date": "yesterday"}, 60),
        ({"retry_after": f"{MAX_RETRY_AFTER_S:.0f}"}, MAX_RETRY_AFTER_S),
        ({"retry_after": "31536000"}, MAX_OUTAGE_S),
        ({"retry_after": "9" * 400}, MAX_OUTAGE_S),
        ({"retry_after": "Mon, 23 Nov 2099 12:01:00 GMT"}, MAX_OUTAGE_S),
        ({"x_ratelimit_reset": "9" * 400}, MAX_OUTAGE_S),
        # The reset of a rate limit, in each of its spellings.
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "30"}, 30),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": f"{EPOCH + 30:.0f}"}, 30),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": f"{(EPOCH + 30) * 1000:.0f}"}, 30),
        ({"x_ratelimit_reset": f"{EPOCH - 3600 + 9:.0f}", "date": AN_HOUR_AGO}, 9),
        ({"x_ratelimit_reset": f"{EPOCH - 5:.0f}"}, None),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "0"}, None),
        ({"x_ratelimit_reset": "12"}, 12),
        ({"x_ratelimit_reset": "12\x1d"}, 12),  # white to `strip`, not to `float`
        ({"x_ratelimit_remaining": "7", "x_ratelimit_reset": "30"}, None),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "later"}, None),
        ({"ratelimit_remaining": "0", "ratelimit_reset": "4"}, 4),
        ({"ratelimit": "limit=100, remaining=0, reset=5"}, 5),
        ({"ratelimit": '"default";r=0;t=6'}, 6),
        ({"ratelimit": '"default";r=3;t=6'}, None),
        ({"ratelimit": '"start";r=0'}, None),
        ({"ratelimit": '"daily";r=500;t=3600, "burst";r=0;t=2'}, 2),
        ({"ratelimit": '"burst";r=0;t=2,"hourly";r=0;t=90, "daily";r=9;t=3600'}, 90),
        ({"ratelimit": '"daily";r=500;t=3600, "burst";r=1;t=2'}, None),
        # Who says it outright is believed first.
        ({"retry_after": "1", "x_ratelimit_remaining": "0", "x_ratelimit_reset": "30"}, 1),
        ({"retry_after": "0", "x_ratelimit_remaining": "0", "x_ratelimit_reset": "30"}, 30),
    ],
)
def test_how_long_a_429_asks_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert asked_s(429, **headers) == expected


@pytest.mark.parametrize(
    ("asked", "max_outage_s", "gets_s"),
    [
        ("31536000", 300.0, 300.0),
        ("31536000", 7200.0, MAX_RETRY_AFTER_S),
        ("9" * 400, 300.0, 300.0),
        ("9" * 400, 20.0, 20.0),
        ("9" * 400, 1e9, MAX_RETRY_AFTER_S),
    ],
)
def test_a_pause_that_is_a_mistake_is_cut_and_the_message_says_so(
    asked: str, max_outage_s: float, gets_s: float
) -> None:
    error = within(max_outage_s, 429, retry_after=asked)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == gets_s
    told = f"{asked} s" if len(asked) < 10 else "for more than thirty years"
    assert str(error) == f"POST /x: 429, the server asks to wait {told}, far too long: it gets {gets_s:.0f} s"


def test_a_long_pause_that_may_be_meant_is_kept_however_soon_an_outage_is_given_up() -> None:
    error = within(5.0, 429, retry_after="1800")
    assert isinstance(error, Throttled)
    assert error.retry_after_s == 1800


def test_a_reset_makes_no_throttling_of_a_failure() -> None:
    assert type(of(500, x_ratelimit_remaining="0", x_ratelimit_reset="30")) is ServerFailed


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://other.example/login?token=SECRET#SECRET", " to https://other.example/login;"),
        ("https://user:SECRET@other.example/", " to https://other.example/;"),
        ("/moved?key=SECRET", " to /moved;"),
        ("http://[SECRET", " to something that is no URL;"),
    ],
)
def test_a_redirect_is_told_without_what_may_be_secret(location: str, shown: str) -> None:
    error = of(302, location=location)
    assert shown in str(error)
    assert "SECRET" not in str(error)


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "date", "ratelimit", "location", "x-ratelimit-reset", "x-ratelimit-remaining"]
        ),
        st.text(max_size=40),
    ),
)
def test_no_header_is_strange_enough_to_fail_on(status: int, headers: dict[str, str]) -> None:
    error = failure(status, headers, what="POST /x", now=NOW, max_outage_s=MAX_OUTAGE_S)
    assert isinstance(error, SourceError | None)
    if isinstance(error, Throttled) and error.retry_after_s is not None:
        assert 0 <= error.retry_after_s <= MAX_RETRY_AFTER_S
