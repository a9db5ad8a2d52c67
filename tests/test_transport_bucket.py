"""How much a server's bucket holds and how fast it fills, from the answers and the 429s."""

from itertools import count

import pytest

from harvester.transport.bucket import LATELY_S, MAX_BURST, Bucket

AN_AGE_S = 100.0


def drained(bucket: Bucket, per_s: float, burst: float, *, asked_per_s: float, since_s: float) -> float:
    """Asks a full bucket evenly, until it is dry; when the one left that found it so."""
    tokens = burst
    for number in count():
        left_s = since_s + number / asked_per_s
        tokens = min(burst, tokens + per_s / asked_per_s) if number else burst
        if tokens < 1:
            return left_s
        tokens -= 1
        bucket.answered(left_s, left_s + 0.05)
    raise AssertionError


@pytest.mark.parametrize("per_s", [5.0, 20.0, 200.0])
@pytest.mark.parametrize("burst", [1, 2, 5, 20])
def test_a_burst_and_then_a_rate_that_is_a_little_too_high_show_both(per_s: float, burst: int) -> None:
    bucket = Bucket()
    dry_s = drained(bucket, per_s, burst, asked_per_s=1000.0, since_s=0.0)
    bucket.burst_ended(dry_s)
    bucket.ran_dry(dry_s)
    asked_per_s = per_s + 0.5 * burst  # dry after a second or two
    dry_s = drained(bucket, per_s, burst, asked_per_s=asked_per_s, since_s=AN_AGE_S)
    lasted_s = dry_s - AN_AGE_S
    assert bucket.measured(dry_s) == pytest.approx(per_s, abs=1.5 / lasted_s)
    assert bucket.burst == pytest.approx(burst, abs=1)


def test_what_was_answered_later_than_the_429_but_left_with_it_belongs_to_the_burst() -> None:
    bucket = Bucket()
    bucket.answered(0.0, 0.02)
    bucket.burst_ended(0.03)
    bucket.ran_dry(0.045)
    assert bucket.burst == 1
    for left_s in (0.03, 0.03, 0.0305, 0.05):
        bucket.answered(left_s, 0.06)
    bucket.measured(10.0)
    assert bucket.burst == pytest.approx(4, abs=0.3)


def test_answers_that_left_after_the_one_that_found_it_dry_do_not_count() -> None:
    bucket = Bucket()
    for number in range(100):
        bucket.answered(number / 10, number / 10 + 1)
    assert bucket.measured(5.0) == pytest.approx(10, abs=0.5)
    assert bucket.measured(20.0) < 10


def test_answers_that_come_out_of_order_are_counted_by_when_they_left() -> None:
    bucket = Bucket()
    for number in (n + step for n in range(0, 100, 10) for step in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)):
        bucket.answered(number / 10, number / 10 + 1)
    assert bucket.measured(9.9) == pytest.approx(10, abs=0.3)


def test_a_burst_larger_than_any_bucket_is_not_believed() -> None:
    bucket = Bucket()
    for _ in range(10 * MAX_BURST):
        bucket.answered(0.0, 0.1)
    bucket.burst_ended(0.0)
    assert bucket.burst == MAX_BURST


def test_a_429_begins_a_new_stretch_and_what_was_borne_lately_fades() -> None:
    bucket = Bucket()
    for number in range(1000):
        bucket.answered(number / 10, number / 10)
    assert bucket.lately(100.0) == pytest.approx(10, rel=0.05)
    bucket.ran_dry(100.0)
    assert (bucket.answers, bucket.borne(101.0)) == (0, 0)
    assert bucket.lately(100.0 + LATELY_S) == pytest.approx(10 / 2.718, rel=0.05)
