"""What is tried again, how often, and how soon."""

import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from harvester.errors import (
    Astray,
    BadPage,
    Broken,
    ConnectFailed,
    ContractBroken,
    Refused,
    Rejected,
    ServerFailed,
    Throttled,
    TimedOut,
    TransientError,
)
from harvester.events import Event, RequestFailed
from harvester.transport import LOOP_CLOCK, OutageOutlived
from harvester.transport.backoff import full_jitter
from harvester.transport.budget import RESERVE, RETRIES_PER_ANSWER, RETRIES_PER_S, Budget
from harvester.transport.retry import (
    MAX_UNLUCKY,
    UNHEARD_OF,
    Patience,
    Retry,
    bearable,
)
from tests.virtual_time import Highest, run

BARE = Throttled("429")
ASKED = Throttled("429", retry_after_s=1.0)


# --- how soon


def test_backoff_doubles_from_half_a_second_to_a_minute() -> None:
    assert [full_jitter(failures, Highest()) for failures in range(1, 10)] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]
    assert full_jitter(10_000, Highest()) == 60


def test_jitter_is_full_and_comes_from_the_seed() -> None:
    drawn = [full_jitter(3, random.Random(seed)) for seed in range(200)]
    assert min(drawn) < 0.1
    assert max(drawn) > 1.9
    assert drawn == [full_jitter(3, random.Random(seed)) for seed in range(200)]


def test_the_budget_lets_its_reserve_go_at_once_and_then_a_trickle() -> None:
    budget = Budget()
    waits = [budget.draw(0.0) for _ in range(int(RESERVE) + 3)]
    assert waits[: int(RESERVE)] == [0.0] * int(RESERVE)
    assert waits[int(RESERVE) :] == pytest.approx([1 / RETRIES_PER_S, 2 / RETRIES_PER_S, 3 / RETRIES_PER_S])


def test_the_budget_is_filled_by_good_answers_and_by_time_but_not_beyond_its_reserve() -> None:
    budget = Budget()
    budget.draw(1000.0)
    for _ in range(1000):
        budget.answered()
    assert [budget.draw(1000.0) for _ in range(int(RESERVE) + 1)][-1] > 0
    for _ in range(int(3 / RETRIES_PER_ANSWER)):
        budget.answered()
    assert [budget.draw(1000.0) > 0 for _ in range(3)] == [False, False, True]
    assert budget.draw(1001.0) == 0


# --- how often


def patience(max_attempts: int = 3, max_outage_s: float = 300.0) -> Patience:
    return Patience(max_attempts, max_outage_s, 0)


@pytest.mark.parametrize("error", [ServerFailed("500"), TimedOut("late"), Broken("cut"), BadPage("HTML")])
def test_a_page_has_so_many_attempts(error: TransientError) -> None:
    page = patience(3)
    assert [page.is_over(error, 0.0, good=0, alone=False, chance=0.0) for _ in range(3)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("error", [ASKED, ConnectFailed("refused")])
def test_what_is_nobodys_fault_is_no_attempt(error: TransientError) -> None:
    page = patience(3)
    assert not any(
        page.is_over(error, float(now_s), good=now_s, alone=True, chance=0.0) for now_s in range(100)
    )
    assert page.attempts == 0
    assert page.tries == 100


def test_a_bare_429_is_an_attempt_unless_the_others_fare_no_better() -> None:
    def over(good: Callable[[int], int], alone: bool) -> bool:
        page = patience(3)
        return any(page.is_over(BARE, 0.0, good=good(n), alone=alone, chance=0.0) for n in range(3))

    assert not over(good=lambda n: 0, alone=False)
    assert over(good=lambda n: n + 1, alone=False)
    assert over(good=lambda n: 0, alone=True)


@pytest.mark.parametrize(
    ("asked_s", "ends_s"),
    [(1.0, 301), (None, 300), (200.0, 500)],
)
def test_a_page_that_is_throttled_for_ever_ends_with_the_longest_outage(
    asked_s: float | None, ends_s: int
) -> None:
    page = patience(max_attempts=100)
    error = Throttled("429", retry_after_s=asked_s)
    times = range(1000)
    assert next(s for s in times if page.is_over(error, float(s), good=0, alone=False, chance=0.0)) == ends_s


def test_a_page_that_waited_long_but_was_tried_seldom_goes_on() -> None:
    page = patience(max_attempts=3)
    assert [page.is_over(ASKED, s, good=0, alone=False, chance=0.0) for s in (0.0, 400.0, 500.0)] == [
        False,
        False,
        True,
    ]


# --- the layer


class Server:
    """Raises what stands in the plan, in order, then answers; `came_s` are the times of the tries."""

    def __init__(self, *plan: BaseException | None) -> None:
        self.plan = iter(plan)
        self.came_s: list[float] = []

    async def send(self, ask: int) -> int:
        self.came_s.append(round(anyio.current_time(), 3))
        await anyio.lowlevel.checkpoint()
        if (error := next(self.plan, None)) is not None:
            raise error
        return ask


def retrying(server: Any, *, max_attempts: int = 8, emit: Any = lambda event: None) -> Retry[int, int]:
    return Retry(
        server,
        max_attempts=max_attempts,
        max_outage_s=300.0,
        budget=Budget(),
        emit=emit,
        clock=LOOP_CLOCK,
        rng=Highest(),
    )


def outcome_of(server: Server, *, max_attempts: int = 8) -> tuple[int | BaseException, list[Event]]:
    events: list[Event] = []

    async def main() -> int | BaseException:
        try:
            return await retrying(server, max_attempts=max_attempts, emit=events.append).send(7)
        except BaseException as error:
            return error

    return run(main), events


def test_it_tries_again_after_a_growing_wait_and_tells_each_time() -> None:
    server = Server(ServerFailed("POST /x: 500"), BadPage("no JSON"), Broken("cut"))
    outcome, events = outcome_of(server)
    assert outcome == 7
    assert server.came_s == [0, 0.5, 1.5, 3.5]
    assert events == [
        RequestFailed(error="ServerFailed", detail="POST /x: 500", attempt=1, wait_s=0.5),
        RequestFailed(error="BadPage", detail="no JSON", attempt=2, wait_s=1.0),
        RequestFailed(error="Broken", detail="cut", attempt=3, wait_s=2.0),
    ]


def test_the_last_failure_goes_up_when_the_attempts_are_used_up() -> None:
    last = TimedOut("the last")
    server = Server(TimedOut("1"), TimedOut("2"), last)
    outcome, events = outcome_of(server, max_attempts=3)
    assert outcome is last
    assert len(events) == 2


@pytest.mark.parametrize(
    "error",
    [
        Rejected("400", status_code=400),
        Refused("403"),
        ContractBroken("no records"),
        OutageOutlived("300 s"),
        KeyError("a bug"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_not_worth_it_goes_up_at_once(error: BaseException) -> None:
    server = Server(error)
    outcome, events = outcome_of(server)
    assert outcome is error
    assert len(server.came_s) == 1
    assert events == []


STRAY = Astray("404", status_code=404)


def test_a_404_is_tried_again_where_a_good_page_came_before_and_hardly_where_none_did() -> None:
    server = Server(*[STRAY] * 4)
    outcome, events = outcome_of(server)
    assert outcome is STRAY
    assert (len(server.came_s), len(events)) == (UNHEARD_OF, UNHEARD_OF - 1)
    assert server.came_s[-1] < 2

    async def main(server: Server) -> list[int | None]:
        retry = retrying(server, max_attempts=5)
        answers: list[int | None] = []
        for ask in range(2):
            try:
                answers.append(await retry.send(ask))
            except Astray:
                answers.append(None)
        return answers

    assert run(main, Server(STRAY, None, *[STRAY] * 4)) == [0, 1]
    assert run(main, Server(None, *[STRAY] * 5)) == [0, None]


def test_a_throttled_page_goes_back_to_the_gate_without_a_wait_of_its_own() -> None:
    server = Server(*[ASKED] * 50)
    outcome, events = outcome_of(server, max_attempts=2)
    assert outcome == 7
    assert server.came_s == [0] * 51
    assert len(events) == 50


def test_a_page_may_be_as_unlucky_as_chance_explains() -> None:
    assert bearable(0.0, 8) == bearable(0.1, 8) == 8
    assert bearable(0.3, 8) == 12
    assert bearable(0.5, 8) == 20
    assert bearable(0.99, 8) == bearable(1.0, 8) == 8 * MAX_UNLUCKY
    page, error = patience(3), Throttled("503", may_be_chance=True)
    tries = [page.is_over(error, 0.0, good=n, alone=False, chance=0.5) for n in range(1, 13)]
    assert tries == [False] * 11 + [True]


def test_a_503_by_chance_is_tried_again_soon_and_never_at_once() -> None:
    server = Server(*[Throttled("503", may_be_chance=True)] * 3)
    assert outcome_of(server)[0] == 7
    assert server.came_s == [0, 0.02, 0.1, 0.42]


def test_cancelling_ends_it_while_it_waits_and_while_it_asks() -> None:
    async def main() -> None:
        class Silent:
            async def send(self, ask: int) -> int:
                await anyio.sleep_forever()
                raise AssertionError

        for server in (Silent(), Server(*[ServerFailed("500")] * 8)):
            with anyio.move_on_after(1.0) as scope:
                await retrying(server).send(7)
            assert scope.cancelled_caught

    run(main)


def test_a_server_that_fails_everything_is_asked_again_at_a_trickle() -> None:
    class Sick(Server):
        async def send(self, ask: int) -> int:
            await super().send(ask)
            raise ServerFailed("502")

    server = Sick()

    async def main() -> None:
        retry = retrying(server, max_attempts=5)

        async def one() -> None:
            with pytest.raises(ServerFailed):
                await retry.send(7)

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(one)

    run(main)
    retries_s = sorted(server.came_s)[200:]
    assert len(retries_s) == 800
    over_s = retries_s[-1]
    assert over_s >= (800 - RESERVE) / RETRIES_PER_S
    for since_s in range(0, int(over_s), 5):
        came = sum(since_s <= came_s < since_s + 5 for came_s in retries_s)
        assert came <= RESERVE + 5 * RETRIES_PER_S + 1
