"""Whether 503s without a word are an answer to how fast we ask."""

import random

import pytest

from harvester.transport.doubt import BELIEVED_S, ENOUGH, Doubt, Verdict


def asked(
    doubt: Doubt,
    share: float,
    *,
    limit_per_s: float = 1e9,
    answers: int = 3000,
    per_s: float = 100.0,
    seed: int = 1,
) -> list[tuple[Verdict, float]]:
    """The verdicts on a server that refuses a share at random and all beyond its limit, and when they
    came."""
    rng, now_s, verdicts, tokens = random.Random(seed), 0.0, list[tuple[Verdict, float]](), 1.0
    for _ in range(answers):
        step_s = 1 / (doubt.slow_per_s or per_s)
        now_s += step_s
        tokens = min(1.0, tokens + step_s * limit_per_s)
        serves = tokens >= 1 and rng.random() >= share
        tokens -= tokens >= 1
        verdict = doubt.answered(now_s) if serves else doubt.refused(now_s - 0.001, now_s)
        if verdict is not None:
            verdicts.append((verdict, now_s))
    return verdicts


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_503s_at_random_are_found_to_be_unrelated_and_then_left_alone(share: float, seed: int) -> None:
    verdicts = asked(Doubt(), share, seed=seed)
    assert 1 <= len(verdicts) <= 3  # chance may bring enough of them together for another trial,
    assert verdicts[-1][0] is Verdict.UNRELATED  # which the next one mends


@pytest.mark.parametrize("limit_per_s", [20.0, 50.0, 80.0])
def test_503s_beyond_a_limit_are_related_and_what_came_through_is_the_limit(limit_per_s: float) -> None:
    doubt = Doubt()
    verdicts = asked(doubt, 0.0, limit_per_s=limit_per_s, answers=80)
    assert verdicts[0][0] is Verdict.RELATED
    # Evenly spaced requests and a bucket of one: 100 a second against 80 get 50 through.
    assert limit_per_s * 0.55 < doubt.borne_per_s <= limit_per_s * 1.1


def test_a_few_in_a_thousand_are_not_worth_a_trial() -> None:
    doubt = Doubt()
    for n in range(20_000):
        if n % 250 == 0:
            doubt.refused(float(n), float(n))
        else:
            doubt.answered(float(n))
        assert doubt.slow_per_s is None


def in_trial(now_s: float = 10.0) -> Doubt:
    doubt = Doubt()
    for n in range(ENOUGH):
        for _ in range(4):
            doubt.answered(now_s - 1)
        doubt.refused(now_s - 2 + n / ENOUGH, now_s - 1 + n / ENOUGH)
    assert doubt.slow_per_s is not None
    return doubt


def test_the_trial_runs_at_half_of_what_came_through_well() -> None:
    doubt = in_trial()
    assert doubt.slow_per_s == doubt.borne_per_s / 2
    assert doubt.borne_per_s == pytest.approx(44 / (11 / 12), rel=0.01)


def test_what_left_before_the_trial_says_nothing_about_it() -> None:
    doubt = in_trial()
    assert [doubt.refused(9.0, 11.0) for _ in range(100)] == [None] * 100
    assert doubt.refused(12.0, 12.1) is None
    assert [doubt.refused(12.0, 12.1) for _ in range(ENOUGH // 2 - 1)][-1] is Verdict.UNRELATED


def test_an_outage_alone_begins_no_trial() -> None:
    doubt = Doubt()
    for outage in range(4):
        for n in range(8):
            doubt.refused(outage * 1000.0, outage * 1000.0 + n / 10)
        doubt.paused(1.0)
        assert doubt.slow_per_s is None
        for n in range(2000):
            doubt.answered(outage * 1000.0 + 10 + n / 10)


def test_pauses_do_not_count_where_what_came_through_is_measured() -> None:
    doubt = Doubt()
    for n in range(2 * ENOUGH):
        for _ in range(4):
            doubt.answered(n)
        doubt.refused(float(n), float(n + 100 * (n >= 4)))
        if n == 3:
            doubt.paused(100.0)
        if doubt.slow_per_s is not None:
            break
    assert 3.5 < doubt.borne_per_s < 5


def test_a_verdict_is_asked_for_again_in_time() -> None:
    doubt = in_trial()
    for _ in range(ENOUGH // 2):
        doubt.refused(20.0, 20.0)

    def was_tried(now_s: float) -> bool:
        """With the same share as before."""
        tried = False
        for n in range(400):
            if n % 5 == 0:
                doubt.refused(now_s, now_s)
            else:
                doubt.answered(now_s)
            tried = tried or doubt.slow_per_s is not None
        return tried

    assert not was_tried(21.0)
    assert was_tried(22.0 + BELIEVED_S)
