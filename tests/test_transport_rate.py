"""The whole way of a rate, in virtual time: a strict server with jitter, judged by its own clock and by
counts."""

import pytest

from harvester.transport import LOOP_CLOCK
from harvester.transport.learned import Learned, Phase, Rate
from harvester.transport.limits import Steady
from tests.strict_server import Jitter, StrictServer

TABLE = [(rate, burst) for rate in (5, 20, 200) for burst in (2, 5, 20)]
STRICT = [(5, 1), (20, 1), (50, 1)]
LEARNING_S = 30.0


def judged_s(rate: float) -> float:
    """Long enough for a 429 of whose pause a second is lost, short enough for a test."""
    return 60.0 if rate < 100 else 15.0


@pytest.mark.parametrize(("rate", "burst"), [*TABLE, *STRICT])
def test_a_rate_that_the_job_names_is_used(rate: float, burst: int) -> None:
    server = StrictServer(rate, burst, seed=3)
    until_s = judged_s(rate)
    server.harvest(lambda: Steady(rate, LOOP_CLOCK), until_s=until_s)
    assert server.used(0.0, until_s) >= (0.8 if burst == 1 else 0.96)
    assert server.refused(0.0) <= (0.005 if burst == 1 else 0.002)


@pytest.mark.parametrize(("rate", "burst"), [*TABLE, *STRICT])
def test_a_rate_that_nobody_told_is_found_and_used(rate: float, burst: int) -> None:
    server, learned = StrictServer(rate, burst, seed=3), Rate()
    until_s = LEARNING_S + judged_s(rate)
    server.harvest(lambda: Learned(learned, LOOP_CLOCK), until_s=until_s)
    assert server.used(LEARNING_S, until_s) >= (0.8 if burst == 1 else 0.88)
    assert server.refused(LEARNING_S) <= (0.005 if burst == 1 else 0.01)
    assert len([at_s for at_s in server.refused_s if at_s < LEARNING_S]) <= 20


def test_a_machine_that_stands_still_for_longer_than_a_bucket_lasts_costs_few_429s() -> None:
    server = StrictServer(50, 1, seed=3, jitter=Jitter(stall_s=0.03, stalls_per_s=2.0))
    server.harvest(lambda: Steady(50, LOOP_CLOCK), until_s=60)
    assert server.used(0.0, 60.0) >= 0.75
    assert server.refused(0.0) <= 0.005


def test_a_real_limit_does_not_make_it_deaf() -> None:
    rate = Rate()
    server = StrictServer(200, 2, seed=3, jitter=Jitter(stall_s=0.02, stalls_per_s=2.0))
    server.harvest(lambda: Learned(rate, LOOP_CLOCK), until_s=40)
    assert rate.phase is not Phase.DEAF
    assert server.refused(0.0) <= 0.02
