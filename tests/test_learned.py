"""What a run learns about the way to the source, and the next one begins with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.ledger import Ledger, home_of
from harvester.scheduler.learned import begin_where_it_ended, news
from harvester.transport import LOOP_CLOCK, TransportSettings

SETTINGS = TransportSettings(base_url="http://127.0.0.1:9", auth="none", concurrency=16)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    home = home_of(tmp_path)
    home.mkdir()
    with Ledger(home) as ledger:
        yield ledger


def test_how_many_may_be_under_way_goes_from_run_to_run_and_is_forgotten_when_all_may(ledger: Ledger) -> None:
    access, pace, width = begin_where_it_ended(SETTINGS, ledger, LOOP_CLOCK)
    assert (width.limit, news(access, pace, width)) == (16, {})
    width.refused(5)
    found = news(access, pace, width)
    assert found == {"width": 4}
    ledger.learn(found)

    access, pace, width = begin_where_it_ended(SETTINGS, ledger, LOOP_CLOCK)
    assert (width.limit, news(access, pace, width)) == (4, {})
    width.limit = 16
    ledger.learn(news(access, pace, width))
    assert begin_where_it_ended(SETTINGS, ledger, LOOP_CLOCK)[2].limit == 16


def test_the_rate_goes_from_run_to_run_where_the_job_names_none(ledger: Ledger) -> None:
    ledger.learn({"rate": 12.5})
    access, pace, width = begin_where_it_ended(SETTINGS, ledger, LOOP_CLOCK)
    assert (access.initial_rate, pace.learned_rate, news(access, pace, width)) == (12.5, 12.5, {})


@pytest.mark.parametrize("odd", [0, -3, "7", None, float("inf"), [4], True])
def test_odd_values_are_as_good_as_none(ledger: Ledger, odd: Any) -> None:
    ledger.learn({"rate": odd, "width": odd})
    access, _, width = begin_where_it_ended(SETTINGS, ledger, LOOP_CLOCK)
    assert (access.initial_rate, access.initial_width, width.limit) == (None, None, 16)
