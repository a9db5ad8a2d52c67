"""How many are under way: found out by what answers take, and by who is refused. In virtual time, counted by
the server."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from harvester.errors import Throttled
from harvester.transport import LOOP_CLOCK, Width
from harvester.transport.learned import Learned, Rate
from harvester.transport.width import BY_CHANCE, FIRST_REST, Phase
from tests.crowded_server import CrowdedServer

MOST = 16
ANSWERS = 2500
WARM = 600
"""Requests by which the room is found."""


def a_width() -> Width:
    return Width(most=MOST)


class Untried(Width):
    """Never narrowed by what answers take."""

    def served(self, level: int, took_s: float) -> None:
        pass


# --- a server that lets them queue


@pytest.mark.parametrize("room", [2, 4, 8])
def test_no_more_than_twice_the_room_are_under_way(room: int) -> None:
    server, width = CrowdedServer(room), a_width()
    took_s = server.harvest(answers=ANSWERS, width=width)
    assert max(server.came[WARM:]) <= 2 * room
    assert room * 0.75 <= (width.worth_remembering or MOST) <= 2 * room
    assert took_s <= ANSWERS * 0.1 / room * 1.1


def test_the_room_is_found_by_answers_that_take_all_sorts_of_times() -> None:
    server, width = CrowdedServer(4, lambda rng: rng.uniform(0.02, 0.2)), a_width()
    took_s = server.harvest(answers=ANSWERS, width=width)
    assert max(server.came[2 * WARM :]) <= 2 * 4 + 2
    assert took_s <= ANSWERS * 0.11 / 4 * 1.12


@pytest.mark.parametrize(
    "work_s",
    [
        lambda rng: 0.1,
        lambda rng: rng.uniform(0.01, 0.4),
        lambda rng: rng.expovariate(5),
        lambda rng: 0.02 if rng.random() < 0.5 else 0.4,
    ],
    ids=["even", "uniform", "exponential", "of two kinds"],
)
def test_a_quiet_server_is_used_fully_however_its_answers_vary(
    work_s: Callable[[random.Random], float],
) -> None:
    width = a_width()
    took_s = CrowdedServer(100, work_s).harvest(answers=ANSWERS, width=width)
    at_best_s = CrowdedServer(100, work_s).harvest(answers=ANSWERS, width=Untried(most=MOST))
    assert width.worth_remembering is None
    assert took_s <= at_best_s * 1.08


def test_a_server_that_gets_slower_by_itself_is_no_crowded_one() -> None:
    begun = iter(range(10**9))
    width = a_width()
    CrowdedServer(100, lambda rng: 0.02 + next(begun) * 0.001).harvest(answers=ANSWERS, width=width)
    assert width.worth_remembering is None


def test_a_server_that_gets_faster_meanwhile_is_no_crowded_one() -> None:
    width = a_width()
    while width.limit == MOST:
        width.served(1, 0.05)
        width.served(MOST, 0.3)
    assert (width.phase, width.limit) == (Phase.LESS, MOST // 2)
    for _ in range(200):
        width.served(width.limit, 0.1)
    assert (width.phase, width.limit) == (Phase.RESTING, MOST)


def test_room_that_comes_later_is_found() -> None:
    @dataclass(slots=True)
    class Opening(CrowdedServer):
        def __post_init__(self) -> None:
            self.work_s = self._work_s

        def _work_s(self, rng: random.Random) -> float:
            return 0.1 if len(self.served_s) > 1000 else 0.1 * max(1.0, self.inside / 4)

    server, width = Opening(100), a_width()
    server.harvest(answers=900, width=width)
    assert width.worth_remembering is not None
    server.harvest(answers=6000, width=width)
    assert width.worth_remembering is None
    assert max(server.came[-100:]) == MOST


# --- a server that sends them away


@pytest.mark.parametrize("room", [1, 4, 10])
@pytest.mark.parametrize(
    ("error", "most", "late"),
    [
        (lambda: Throttled("429", retry_after_s=1.0), 10, 2),
        (lambda: Throttled("429"), 10, 2),
        (lambda: Throttled("503", may_be_chance=True), 50, 12),
    ],
    ids=["429 for a second", "429", "503"],
)
def test_a_hidden_limit_on_those_under_way_costs_few_refusals(
    room: int, error: Callable[[], Throttled], most: int, late: int
) -> None:
    server = CrowdedServer(room, lambda rng: rng.uniform(0.02, 0.1), error)
    server.harvest(answers=ANSWERS, width=a_width())
    assert 0 < len(server.refused) <= most
    if late < 10:
        assert max(server.came[200:]) <= room + 1
    assert sum(before > ANSWERS // 2 for before in server.refused) <= late


def test_where_it_is_refused_again_it_stays_below_for_longer_each_time() -> None:
    width, served = a_width(), []
    for _ in range(4):
        assert width.limit >= 5
        width.refused(5)
        assert (width.limit, width.worth_remembering) == (4, 4)
        count = 0
        while width.limit == 4:
            width.served(4, 0.1)
            count += 1
        served.append(count)
        width.limit = 5
    assert served == [4, 16, 64, 256]


@pytest.mark.parametrize(("share", "least"), [(0.3, MOST - 1), (0.5, MOST - 4)])
def test_refusals_at_any_level_are_no_matter_of_how_many(share: float, least: int) -> None:
    rng, width = random.Random(5), a_width()
    for _ in range(3000):
        level = rng.randint(1, width.limit)
        if rng.random() < share:
            width.refused(level, may_be_chance=True)
        else:
            width.served(level, 0.1)
        assert width.limit >= least


def test_a_503_without_a_word_has_to_come_several_times() -> None:
    width = a_width()
    for _ in range(100):
        width.served(3, 0.1)
    known = [width.refused(4, may_be_chance=True) for _ in range(BY_CHANCE)]
    assert not any(known)
    assert width.limit == 3


def test_a_refusal_of_one_that_left_before_it_was_narrowed_says_nothing_new() -> None:
    width = a_width()
    width.refused(5)
    assert not width.refused(7)
    assert width.limit == 4


def test_the_rate_is_told_of_the_first_refusals_only() -> None:
    told: list[float] = []

    class Told(Learned):
        def throttled(self, left_s: float, now_s: float, /) -> None:
            told.append(now_s)
            super().throttled(left_s, now_s)

    server = CrowdedServer(4, lambda rng: rng.uniform(0.02, 0.1), lambda: Throttled("429"))
    server.harvest(answers=ANSWERS, width=a_width(), pace=lambda: Told(Rate(), LOOP_CLOCK))
    assert 1 <= len(told) <= 2 < len(server.refused)


# --- its mind


def test_nobody_leaves_beyond_the_limit() -> None:
    width = Width(most=2)
    assert [width.left(), width.has_room, width.left(), width.has_room] == [1, True, 2, False]
    width.came_back()
    assert width.has_room


def test_nothing_is_learned_where_the_limit_keeps_nobody_back() -> None:
    width = a_width()
    for n in range(10 * FIRST_REST):
        width.served(3, 0.1 * (1 + n % 7))
    assert (width.phase, width.limit) == (Phase.RESTING, MOST)


def test_what_was_found_is_remembered_and_begun_with() -> None:
    width = Width.remembered(MOST, 5)
    assert (width.limit, width.worth_remembering) == (5, 5)
    assert Width.remembered(4, 9).worth_remembering is None
    server = CrowdedServer(4)
    server.harvest(answers=1000, width=width)
    assert max(server.came) <= 2 * 4
