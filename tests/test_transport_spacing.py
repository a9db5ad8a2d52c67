"""How close a request may follow those before it."""

from math import inf

import pytest

from harvester.transport.spacing import FAST_PER_S, LEAST_S, MAX_SAVED_S, MAX_SHARE, SHARE, SOON, Spacing

PER_S = 10.0
EACH_S = 1 / PER_S
QUICK_S = 0.001


def a_spacing(*, strict: bool = True, requests: int = 100) -> tuple[Spacing, float]:
    """One that has seen so many requests that left evenly and were answered at once; and when the last one
    left."""
    spacing = Spacing(is_strict=strict)
    for n in range(requests):
        spacing.left(n * EACH_S, per_s=PER_S)
        spacing.came_back(n * EACH_S, n * EACH_S + QUICK_S)
    return spacing, (requests - 1) * EACH_S


def test_the_first_leaves_at_once() -> None:
    assert Spacing(is_strict=True).wait_s(0.0, per_s=PER_S) == 0


def test_a_strict_server_gets_its_distance_and_another_has_one_token_to_spare() -> None:
    strict, last_s = a_spacing()
    assert strict.wait_s(last_s + QUICK_S, per_s=PER_S) == pytest.approx(EACH_S - QUICK_S + LEAST_S)
    other, last_s = a_spacing(strict=False)
    assert other.wait_s(last_s + QUICK_S, per_s=PER_S) == 0
    other.left(last_s + QUICK_S, per_s=PER_S)
    assert other.wait_s(last_s + QUICK_S, per_s=PER_S) == pytest.approx(EACH_S - QUICK_S)


def test_a_late_answer_moves_the_next_one_by_as_much() -> None:
    spacing, last_s = a_spacing()
    left_s = last_s + EACH_S
    spacing.left(left_s, per_s=PER_S)
    spacing.came_back(left_s, left_s + QUICK_S + 0.03)
    assert spacing.wait_s(left_s + 0.05, per_s=PER_S) == pytest.approx(EACH_S + 0.03 - 0.05, abs=0.002)


def test_an_answer_that_is_missing_holds_back_the_next_one_until_it_is_there() -> None:
    spacing, last_s = a_spacing()
    left_s = last_s + EACH_S
    spacing.left(left_s, per_s=PER_S)
    for passed_s in (EACH_S, 1.5 * EACH_S):
        assert spacing.wait_s(left_s + passed_s, per_s=PER_S) > 0
    spacing.came_back(left_s, left_s + 1.5 * EACH_S)
    assert spacing.wait_s(left_s + 2.5 * EACH_S + 0.002, per_s=PER_S) == 0


def test_where_two_are_held_up_no_third_follows_them() -> None:
    spacing, last_s = a_spacing(strict=False)
    for n in (1, 2):
        assert spacing.wait_s(last_s + n * EACH_S, per_s=PER_S) == 0
        spacing.left(last_s + n * EACH_S, per_s=PER_S)
    assert spacing.wait_s(last_s + 3 * EACH_S, per_s=PER_S) > 0


def test_an_answer_that_never_comes_costs_no_more_than_was_saved() -> None:
    spacing, last_s = a_spacing(requests=1000)
    spacing.left(last_s + EACH_S, per_s=PER_S)
    waited_s, now_s = 0.0, last_s + 2 * EACH_S
    while (wait_s := spacing.wait_s(now_s, per_s=PER_S)) > 0:
        waited_s += wait_s
        now_s += wait_s
        assert waited_s < 1
    assert waited_s == pytest.approx(MAX_SAVED_S, abs=0.01)


@pytest.mark.parametrize("strict", [True, False])
def test_answers_that_all_take_another_time_cost_a_tenth_of_the_rate_at_most(strict: bool) -> None:
    """Pages of any size: from nothing to four distances."""
    spacing, now_s, back = Spacing(is_strict=strict), 0.0, list[tuple[float, float]]()
    for n in range(2000):
        while (wait_s := spacing.wait_s(now_s, per_s=PER_S)) > 0:
            now_s += wait_s
            for answer in [answer for answer in back if answer[0] <= now_s]:
                spacing.came_back(answer[1], answer[0])
                back.remove(answer)
        spacing.left(now_s, per_s=PER_S)
        back.append((now_s + (n * 7 % 11) / 11 * 4 * EACH_S, now_s))
        now_s += 0.001
    margin = 1 / 8 if strict else 0.0
    assert now_s / 2000 / EACH_S < 1 + SHARE + margin + 0.05


def test_a_429_soon_after_another_means_a_bucket_of_one_where_that_can_be_kept() -> None:
    for answers, per_s, strict in [
        (SOON - 1, PER_S, True),
        (SOON, PER_S, False),
        (0, PER_S, False),
        (SOON - 1, FAST_PER_S * 2, False),
    ]:
        spacing = Spacing()
        for _ in range(answers):
            spacing.answered()
        assert spacing.throttled(per_s=per_s) is strict
        assert spacing.is_strict is strict
    spacing = Spacing(is_strict=True)
    spacing.answered()
    assert not spacing.throttled(per_s=PER_S)  # it was strict already: something else is needed


def test_each_429_lets_lateness_cost_twice_as_much_up_to_a_bound() -> None:
    spacing = Spacing()
    for _ in range(5):
        spacing.throttled(per_s=PER_S)
    for n in range(10_000):
        spacing.left(n * EACH_S, per_s=PER_S)
    assert spacing._share == MAX_SHARE
    assert spacing._saved_s == MAX_SAVED_S < inf
