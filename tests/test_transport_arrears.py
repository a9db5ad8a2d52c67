"""How much of what a busy machine lost is made up for at a rate that the job names."""

import random

import anyio
import pytest

from harvester.transport import LOOP_CLOCK
from harvester.transport.arrears import LATENESS_S, MOST, MUCH, TURNS, Arrears
from harvester.transport.limits import Steady
from tests.strict_server import Jitter, StrictServer

PER_S = 200.0
EACH_S = 1 / PER_S


def lost(arrears: Arrears, share: float, turns: int = TURNS) -> list[bool]:
    """So many turns, of which this share is lost to lateness that nothing makes up for."""
    late_s = arrears.made_up_s(PER_S) + share * EACH_S
    return [arrears.left(late_s, per_s=PER_S) for _ in range(turns)]


def test_a_little_is_made_up_always() -> None:
    assert Arrears().made_up_s(PER_S) == LATENESS_S
    assert Arrears().made_up_s(0.1) == LATENESS_S


def test_more_is_made_up_where_much_is_lost_and_twice_as_much_each_time_up_to_a_bound() -> None:
    arrears, tokens = Arrears(), []
    for _ in range(6):
        assert lost(arrears, 1.1 * MUCH)[:-1] == [False] * (TURNS - 1)
        tokens.append(arrears.tokens)
    assert tokens == [1, 2, 4, 8, 8, 8] == [min(2**n, MOST) for n in range(6)]
    assert arrears.made_up_s(PER_S) == MOST * EACH_S


def test_nothing_is_tried_where_little_is_lost() -> None:
    arrears = Arrears()
    assert not any(lost(arrears, 0.9 * MUCH, 100 * TURNS))
    assert arrears.tokens == 0


@pytest.mark.parametrize(("steps", "left"), [(1, 0.0), (2, 1.0), (3, 2.0)])
def test_a_429_takes_the_last_step_back_for_good(steps: int, left: float) -> None:
    arrears = Arrears()
    for _ in range(steps):
        lost(arrears, 1.0)
    assert arrears.throttled()
    assert arrears.tokens == left
    assert not any(lost(arrears, 1.0, 10 * TURNS))
    assert arrears.tokens == left


def test_a_429_where_nothing_more_was_made_up_is_somebody_elses() -> None:
    assert not Arrears().throttled()


class Late(Steady):
    """On a busy machine, where every fifth request leaves up to 15 ms after its turn, and the next one after
    it."""

    def __init__(self, requests_per_second: float) -> None:
        super().__init__(requests_per_second, LOOP_CLOCK)
        self._one = anyio.Lock()
        self._rng = random.Random(5)

    async def turn(self) -> None:
        async with self._one:
            await super().turn()
            if self._rng.random() < 0.2:
                await anyio.sleep(self._rng.uniform(0.0, 0.015))


def harvested(burst: float) -> StrictServer:
    server = StrictServer(PER_S, burst, seed=3, jitter=Jitter(stalls_per_s=0.0))
    server.harvest(lambda: Late(PER_S), until_s=40.0)
    return server


def test_a_busy_machine_uses_a_bucket_that_is_large_and_spares_one_that_is_small() -> None:
    large, small = harvested(20), harvested(2)
    assert large.refused_s == []
    assert large.used(10.0, 40.0) >= 0.94
    assert len(small.refused_s) <= 3


def test_a_server_that_answers_late_is_no_busy_machine() -> None:
    """What waits for its answers is held back, and does not catch up at the cost of a server that is slow."""
    server = StrictServer(PER_S, 5, seed=3, jitter=Jitter(stall_s=0.03, stalls_per_s=3.0))
    pace = server.harvest(lambda: Steady(PER_S, LOOP_CLOCK), until_s=10.0)
    assert isinstance(pace, Steady)
    assert pace._arrears.tokens == 0
