"""What a 429 means to a rate that is learned: the limit, an accident, or nothing that has to do with it."""

import pytest

from harvester.transport import LOOP_CLOCK
from harvester.transport.learned import (
    MORE,
    SELDOM,
    SELDOM_S,
    STEP_DOWN,
    STUBBORN,
    SURE,
    Learned,
    Phase,
    Rate,
)
from tests.strict_server import Jitter, StrictServer

PER_S = 100.0
LEARNING_S = 30.0
UNTIL_S = 60.0


def answers(rate: Rate, since_s: float, many: int) -> float:
    """So many at `PER_S`; when the last one came."""
    for number in range(many):
        rate.answered(since_s + number / PER_S)
    return since_s + many / PER_S


def phase_of(rate: Rate) -> Phase:
    return rate.phase


def held_and_throttled(seconds: float, many: int) -> Rate:
    """A rate that was lowered once, and then throttled after so long and so many answers."""
    rate = Rate.remembered(PER_S)
    rate.throttled(0.0)
    rate.bucket.answers = many
    rate.throttled(seconds)
    return rate


@pytest.mark.parametrize(
    ("seconds", "many", "lowered"),
    [
        (SELDOM_S, SELDOM, False),
        (10 * SELDOM_S, SELDOM * 10, False),
        (SELDOM_S, SELDOM - 1, True),
        (SELDOM_S - 0.1, SELDOM * 10, True),
    ],
)
def test_a_429_that_comes_seldom_at_a_held_rate_is_an_accident(
    seconds: float, many: int, lowered: bool
) -> None:
    once = Rate.remembered(PER_S)
    once.throttled(0.0)
    twice = held_and_throttled(seconds, many)
    assert once.rate is not None
    assert twice.rate is not None
    assert (twice.rate < once.rate) is lowered


def deaf(per_answers: int) -> tuple[Rate, float]:
    """One whose held rate was throttled each so many answers, until it gave up."""
    rate, now_s = Rate.remembered(PER_S), 0.0
    for _ in range(STUBBORN):
        assert rate.phase is not Phase.DEAF
        now_s = answers(rate, now_s, per_answers)
        rate.throttled(now_s)
    assert phase_of(rate) is Phase.DEAF
    return rate, now_s


def test_who_is_deaf_and_throttled_as_before_stays_so() -> None:
    rate, now_s = deaf(per_answers=100)
    for _ in range(20):
        now_s = answers(rate, now_s, 100)
        rate.throttled(now_s)
    assert phase_of(rate) is Phase.DEAF


def test_who_is_deaf_and_throttled_much_more_often_goes_back_to_what_was_borne() -> None:
    rate, now_s = deaf(per_answers=100)
    for _ in range(SURE):
        assert phase_of(rate) is Phase.DEAF
        now_s = answers(rate, now_s, round(100 / MORE / 2))
        rate.throttled(now_s)
    assert (phase_of(rate), rate.rate) == (Phase.HOLDING, PER_S)


def test_429s_that_come_no_more_often_than_at_any_rate_are_borne_with_from_then_on() -> None:
    rate, now_s = deaf(per_answers=100)
    for _ in range(SURE):
        rate.throttled(now_s)
    for _ in range(3 * STUBBORN):
        now_s = answers(rate, now_s, 100)
        rate.throttled(now_s)
    assert rate.rate == PER_S
    for _ in range(2):  # far more often: the server allows less than before
        now_s = answers(rate, now_s, 10)
        rate.throttled(now_s)
    assert rate.rate is not None
    assert rate.rate <= PER_S * STEP_DOWN


def test_a_probe_that_fails_goes_back_to_what_was_borne_before() -> None:
    rate, now_s = Rate.remembered(PER_S), 0.0
    while phase_of(rate) is not Phase.PROBING:
        now_s = answers(rate, now_s, 10)
        rate.leave(now_s, waited=True)
    rate.leave(now_s + 1.0, waited=True)
    assert rate.rate is not None
    assert rate.rate > PER_S
    rate.throttled(now_s + 1.0)
    assert phase_of(rate) is Phase.HOLDING
    assert rate.rate == pytest.approx(PER_S, rel=0.05)


@pytest.mark.parametrize("latency_s", [0.005, 0.02, 0.1])
@pytest.mark.parametrize(("per_s", "burst"), [(20, 2), (200, 2), (200, 5), (200, 20)])
def test_a_limit_is_found_and_used_however_long_the_way(latency_s: float, per_s: float, burst: float) -> None:
    """Where a machine stands still for longer than the bucket lasts nobody can keep to it from afar, so it
    does so seldom here."""
    jitter = Jitter(stalls_per_s=0.02)
    server = StrictServer(per_s, burst, seed=3, wire_s=latency_s / 2, jitter=jitter)
    until_s = UNTIL_S if per_s < 100 else LEARNING_S + 15
    server.harvest(lambda: Learned(Rate(), LOOP_CLOCK), until_s=until_s, tasks=64)
    assert server.used(LEARNING_S, until_s) >= 0.88
    assert server.refused(LEARNING_S) <= 0.01
    assert len([at_s for at_s in server.refused_s if at_s < LEARNING_S]) <= 40
