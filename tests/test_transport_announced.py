"""Servers that say how they want to be asked: how many answers they refuse until they are, by their own
count, in virtual time."""

from itertools import pairwise
from typing import Any

import pytest

from tests.announcing_server import MAX_OUTAGE_S, AnnouncingServer, as_date, in_seconds

ANSWERS = 1000
DAY_S = 86_400.0


MANNERS: dict[str, dict[str, Any]] = {
    "X-RateLimit in seconds": {"style": "seconds"},
    "X-RateLimit in seconds, burst 1": {"style": "seconds", "burst": 1.0},
    "X-RateLimit as Unix time": {"style": "epoch"},
    "X-RateLimit as Unix time of tomorrow": {"style": "epoch", "skew_s": DAY_S},
    "X-RateLimit as Unix time of yesterday": {"style": "epoch", "skew_s": -DAY_S},
    "RateLimit": {"style": "draft"},
    "Retry-After in seconds": {"says": in_seconds(1)},
    "Retry-After as a date of tomorrow": {"says": as_date(2), "skew_s": DAY_S},
    "Retry-After as a date of yesterday, 503": {"says": as_date(2), "skew_s": -DAY_S, "status": 503},
    "Retry-After as a date of tomorrow, burst 1": {"says": as_date(2), "skew_s": DAY_S, "burst": 1.0},
}


@pytest.mark.parametrize("name", MANNERS)
def test_whoever_says_when_to_come_back_refuses_few(name: str) -> None:
    server = AnnouncingServer(**MANNERS[name])
    took_s = server.harvest(answers=ANSWERS)
    assert 1 <= len(server.refused_s) <= 10
    assert sum(at_s > 30 for at_s in server.refused_s) <= 3
    assert took_s <= ANSWERS / server.rate * 1.5


@pytest.mark.parametrize("style", ["seconds", "epoch", "draft"])
def test_without_a_retry_after_the_reset_is_waited_for(style: str) -> None:
    server = AnnouncingServer(style=style)
    server.harvest(answers=20)
    first_s = server.refused_s[0]
    assert min(at_s for at_s in server.came_s if at_s > first_s + 0.05) >= first_s + 0.9


@pytest.mark.parametrize("burst", [1.0, 2.0])
def test_nobody_knocks_in_a_pause_and_so_no_pause_gets_longer(burst: float) -> None:
    server = AnnouncingServer(burst=burst, says=in_seconds(2), penalty_s=1.0)
    took_s = server.harvest(answers=ANSWERS)
    assert 1 <= len(server.refused_s) <= 12
    assert took_s <= ANSWERS / server.rate * 1.6
    for refused_s in server.refused_s:
        told_s = refused_s + 0.02  # others were on their way
        assert not [at_s for at_s in server.came_s if told_s < at_s < refused_s + 2]


@pytest.mark.parametrize(
    ("says", "skew_s"),
    [(in_seconds(0), 0.0), (as_date(0), DAY_S), (as_date(-60), 0.0), (as_date(-60), -DAY_S)],
    ids=["0", "now", "a minute ago", "a minute ago, yesterday"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_whoever_refuses_all_and_asks_for_no_pause_is_knocked_at_ever_more_seldom(
    says: Any, skew_s: float, status: int
) -> None:
    server = AnnouncingServer(rate=1e9, burst=1e9, says=says, skew_s=skew_s, status=status, refuses_first=12)
    server.harvest(answers=20)
    knocks_s = server.came_s[: server.refuses_first + 1]
    waits_s = [after - before for before, after in pairwise(knocks_s)]
    assert sum(waits_s[:6]) < 40
    assert sum(waits_s[6:]) > 90
    assert sum(wait_s < 0.1 for wait_s in waits_s) <= 3


@pytest.mark.parametrize("says", [in_seconds(1e11), as_date(1e10)], ids=["seconds", "a date"])
def test_an_absurd_pause_is_as_long_as_an_outage_and_one_asks_what_became_of_it(
    says: Any,
) -> None:
    server = AnnouncingServer(rate=1e9, burst=1e9, says=says, refuses_first=2, skew_s=DAY_S)
    server.harvest(answers=200)
    assert len(server.refused_s) == 2
    assert server.came_s[1] - server.came_s[0] == pytest.approx(MAX_OUTAGE_S, abs=1)
    assert server.came_s[2] - server.came_s[1] == pytest.approx(MAX_OUTAGE_S, abs=1)
    assert server.came_s[-1] < 2 * MAX_OUTAGE_S + 100
