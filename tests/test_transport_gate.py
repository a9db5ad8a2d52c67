"""One gate for all: who may leave, and when."""

import itertools
import random
from math import inf
from typing import Any

import anyio
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import data, floats, none, sampled_from

from harvester.errors import (
    Astray,
    Broken,
    ConnectFailed,
    Refused,
    Rejected,
    ServerFailed,
    Stale,
    Throttled,
    TimedOut,
    TransientError,
)
from harvester.events import Event, Paused
from harvester.transport import LOOP_CLOCK, Width
from harvester.transport.gate import (
    BREATH,
    GAINED,
    MAX_BREATH_S,
    TRANSITIONS,
    TRUST,
    Door,
    Gate,
    News,
    OutageOutlived,
    State,
)
from tests.virtual_time import Highest, run

CANNOT_HAPPEN = {
    (State.KNOCKING, News.LEFT),  # nobody leaves while one knocks
    *((State.PAUSED, news) for news in News if news is not News.LEFT),  # nobody's ticket is new in a pause
    (State.OPEN, News.SERVED_ALL),  # it is open already
    (State.KNOCKING, News.UNSURE),  # a knock leaves no doubt
}


def a_door(concurrency: int = 3, max_outage_s: float = 300.0, rng: random.Random | None = None) -> Door:
    return Door(concurrency=concurrency, max_outage_s=max_outage_s, rng=rng or Highest())


def door_in(state: State, *, concurrency: int = 3) -> tuple[Door, int]:
    """A door in that state at 0 s with one request under way, and its ticket."""
    door = a_door(concurrency)
    ticket = door.leave(0.0)
    assert ticket is not None
    match state:
        case State.RETURNING:
            pass
        case State.OPEN:
            for _ in range(concurrency - 1):
                door.served(ticket)
                ticket = door.leave(0.0)
                assert ticket is not None
        case State.PAUSED | State.KNOCKING:
            door.shut(ticket, 0.0, 0.0 if state is State.KNOCKING else 1.0)
            if state is State.KNOCKING:
                ticket = door.leave(0.0)
                assert ticket is not None
    assert door.state is state
    return door, ticket


def trusted(door: Door, *, steps: int = 4) -> None:
    door._trust = steps


def state_of(door: Door) -> State:
    """The same as door.state, but the type checker does not believe that it stays."""
    return door.state


# --- the table


def test_every_pair_of_state_and_news_is_decided() -> None:
    pairs = set(itertools.product(State, News))
    assert set(TRANSITIONS) | CANNOT_HAPPEN == pairs
    assert not set(TRANSITIONS) & CANNOT_HAPPEN


@pytest.mark.parametrize(("state", "news"), sorted(TRANSITIONS, key=str))
def test_the_door_walks_the_whole_table(state: State, news: News) -> None:
    door, ticket = door_in(state, concurrency=2 if news is News.SERVED_ALL else 3)
    if (state, news) == (State.KNOCKING, News.SERVED_ALL):
        door, ticket = door_in(state, concurrency=1)
    match news:
        case News.LEFT:
            if state is State.RETURNING:
                door.served(ticket)
            assert door.leave(1.0) is not None
        case News.SERVED | News.SERVED_ALL:
            door.served(ticket)
        case News.FAILED:
            door.failed(ticket, 0.0)
        case News.SHUT:
            door.shut(ticket, 0.0, None)
        case News.UNSURE:
            trusted(door)
            door.unsure(ticket, 0.0)
        case News.LOST:
            door.lost(ticket, 0.0)
    assert door.state is TRANSITIONS[state, news]


class Crowd(RuleBasedStateMachine):
    """Any news in any order: nobody knocks in a pause, one knocks at a time, and nobody is counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.door = a_door(concurrency=4, max_outage_s=5.0)
        self.now_s = 0.0
        self.under_way: list[int] = []
        self.pause_ends_s = 0.0

    @rule(by_s=floats(0, 10))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s

    @rule()
    def somebody_wants_to_leave(self) -> None:
        blocked_s = self.door.blocked_s(self.now_s)
        ticket = self.door.leave(self.now_s)
        assert (ticket is None) == (blocked_s is not None)
        if ticket is not None:
            assert self.now_s >= self.pause_ends_s
            self.under_way.append(ticket)

    @precondition(lambda self: self.under_way)
    @rule(
        draw=data(),
        asked_s=none() | floats(0, 20),
        news=sampled_from(["served", "failed", "unsure", "shut", "lost"]),
    )
    def somebody_comes_back(self, draw: Any, asked_s: float | None, news: str) -> None:
        ticket = self.under_way.pop(draw.draw(sampled_from(range(len(self.under_way)))))
        is_shut = self.door.state is State.PAUSED
        wait_s = None
        match news:
            case "served":
                self.door.served(ticket)
            case "failed":
                wait_s = self.door.failed(ticket, self.now_s)
            case "unsure":
                wait_s = self.door.unsure(ticket, self.now_s)
            case "shut":
                wait_s = self.door.shut(ticket, self.now_s, asked_s)
                if is_shut and asked_s is not None:
                    self.pause_ends_s = max(self.pause_ends_s, self.now_s + asked_s)
            case "lost":
                self.door.lost(ticket, self.now_s)
        if wait_s is not None:
            self.pause_ends_s = self.now_s + wait_s

    @invariant()
    def as_many_are_out_as_may_be(self) -> None:
        match self.door.state:
            case State.PAUSED:
                assert self.door.leave(self.pause_ends_s - 0.001) is None
            case State.KNOCKING:
                assert self.door.leave(inf) is None


TestCrowd = Crowd.TestCase
TestCrowd.settings = hypothesis_settings(max_examples=15, stateful_step_count=12)


# --- the pause


def test_a_run_begins_with_one_and_doubles_in_each_round_trip() -> None:
    door = a_door(concurrency=16)
    at_once = []
    while state_of(door) is not State.OPEN:
        tickets = []
        while (ticket := door.leave(0.0)) is not None:
            tickets.append(ticket)
            if len(tickets) == 16:
                break
        at_once.append(len(tickets))
        for ticket in tickets:
            door.served(ticket)
    assert at_once == [1, 2, 4, 8]


def test_the_pause_is_as_long_as_the_server_asked() -> None:
    door, ticket = door_in(State.OPEN)
    assert door.shut(ticket, 10.0, 2.5) == 2.5
    assert door.blocked_s(10.0) == 2.5
    assert door.leave(12.4) is None
    assert door.leave(12.5) is not None


def test_without_a_word_the_pause_doubles_with_each_failed_knock_to_a_minute() -> None:
    door, ticket = door_in(State.OPEN)
    now_s, waits = 0.0, []
    for knock in range(10):
        wait_s = door.shut(ticket, now_s, None) if knock % 2 == 0 else door.failed(ticket, now_s)
        assert wait_s is not None
        waits.append(wait_s)
        now_s += wait_s
        left = door.leave(now_s)
        assert left is not None
        ticket = left
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_good_knock_makes_the_next_pause_short_again() -> None:
    door, ticket = door_in(State.KNOCKING)
    assert door.shut(ticket, 0.0, None) == 1.0
    ticket = door.leave(1.0) or -1
    door.served(ticket)
    ticket = door.leave(1.0) or -1
    assert door.shut(ticket, 1.0, None) == 0.5


def test_a_volley_is_one_pause_and_its_late_ones_only_lengthen_it() -> None:
    door = a_door(concurrency=4)
    first = door.leave(0.0) or 0
    for _ in range(3):
        door.served(first)
        door.leave(0.0)
    others = [door.leave(0.0) or 0 for _ in range(3)]
    assert door.shut(others[0], 0.0, 1.0) == 1.0
    assert door.shut(others[1], 0.1, None) is None
    assert door.blocked_s(0.1) == pytest.approx(0.9)
    assert door.shut(others[2], 0.2, 5.0) is None
    assert door.blocked_s(0.2) == pytest.approx(5.0)


def test_old_news_neither_opens_the_door_nor_shuts_it() -> None:
    door = a_door(concurrency=4)
    old = door.leave(0.0) or 0
    door.served(old)
    door.leave(0.0)
    door.shut(old, 0.0, 1.0)
    door.served(old)
    assert state_of(door) is State.PAUSED
    knock = door.leave(1.0) or -1
    door.served(old)
    door.failed(old, 1.0)
    door.shut(old, 1.0, 9.0)
    door.lost(old, 1.0)
    assert state_of(door) is State.KNOCKING
    door.served(knock)
    assert door.shut(old, 1.0, 9.0) is None
    assert state_of(door) is State.RETURNING


def test_when_the_knocking_one_is_cancelled_the_next_one_knocks() -> None:
    door, ticket = door_in(State.KNOCKING)
    door.lost(ticket, 7.0)
    assert door.leave(7.0) is not None


# --- what may be chance


def open_door(concurrency: int = 16) -> Door:
    door = a_door(concurrency)
    while door.state is not State.OPEN:
        door.served(door.leave(0.0) or 0)
    return door


def test_a_503_without_a_word_among_good_answers_costs_everybody_a_breath_only() -> None:
    door = open_door()
    breaths_s = []
    now_s = 0.0
    for _ in range(200):
        now_s += 0.1
        ticket = door.leave(now_s)
        assert ticket is not None
        door.served(ticket)
        ticket = door.leave(now_s)
        assert ticket is not None
        assert door.unsure(ticket, now_s) is None
        assert state_of(door) is State.OPEN
        breath_s = door.blocked_s(now_s) or 0.0
        assert door.leave(now_s + breath_s / 2) is None
        breaths_s.append(breath_s)
        now_s += breath_s
    assert min(breaths_s) > 0
    assert sum(breaths_s) <= BREATH * now_s
    door.served(door.leave(now_s + 3600) or 0)
    door.unsure(door.leave(now_s + 3600) or 0, now_s + 3600)
    assert door.blocked_s(now_s + 3600) == MAX_BREATH_S


def test_where_503s_outweigh_the_good_answers_everybody_waits() -> None:
    door = open_door()
    waits = [door.unsure(door.leave(float(n)) or 0, float(n)) for n in range(TRUST)]
    assert waits == [None] * (TRUST - 1) + [0.5]
    assert state_of(door) is State.PAUSED


def test_after_a_pause_and_at_the_start_a_single_503_is_enough() -> None:
    door = a_door()
    assert door.unsure(door.leave(0.0) or 0, 0.0) == 0.5
    knock = door.leave(1.0)
    assert knock is not None
    assert door.unsure(knock, 1.0) == 1.0  # a knock leaves no doubt
    door.served(door.leave(3.0) or 0)
    assert state_of(door) is State.RETURNING
    for n in range(GAINED):  # that many doubts one good answer bought
        assert door.unsure(door.leave(3.0 + n) or 0, 3.0 + n) is None
    assert door.unsure(door.leave(9.0) or 0, 9.0) is not None


@pytest.mark.parametrize(("share", "most"), [(0.2, 0), (0.5, 3)])
def test_503s_at_random_hardly_ever_pause_everybody(share: float, most: int) -> None:
    door, rng, pauses, now_s = open_door(), random.Random(5), 0, 0.0
    for _ in range(5000):
        now_s += max(0.01, door.blocked_s(now_s) or 0.0)
        ticket = door.leave(now_s)
        assert ticket is not None
        if rng.random() < share:
            pauses += door.unsure(ticket, now_s) is not None
        else:
            door.served(ticket)
    assert pauses <= most
    assert now_s < 5000 * 0.01 * 1.2


# --- the outage


def knocks_until_given_up(door: Door, ticket: int, asked_s: float | None) -> float:
    now_s = 0.0
    for _ in range(10_000):
        wait_s = door.shut(ticket, now_s, asked_s)
        if door.given_up:
            return now_s
        assert wait_s is not None
        now_s += wait_s
        ticket = door.leave(now_s) or -1
    raise AssertionError("for ever")


@pytest.mark.parametrize(
    ("max_outage_s", "asked_s", "least_s", "most_s"),
    [
        (300.0, None, 300, 360),
        (0.0, None, 0, 0.5),
        (300.0, 1.0, 301, 302),
        # A single long pause that the server asked for is no outage, asked for again and again it is.
        (300.0, 3600.0, 7200, 7200),
    ],
)
def test_an_outage_is_given_up_in_time(
    max_outage_s: float, asked_s: float | None, least_s: float, most_s: float
) -> None:
    door = a_door(max_outage_s=max_outage_s)
    given_up_s = knocks_until_given_up(door, door.leave(0.0) or 0, asked_s)
    assert least_s <= given_up_s <= most_s


def test_once_given_up_it_knocks_each_second_and_sends_away_whoever_waits_each_time() -> None:
    door = a_door()
    now_s = knocks_until_given_up(door, door.leave(0.0) or 0, None)
    for more in range(1, 4):
        assert door.blocked_s(now_s) == pytest.approx(1.0)
        now_s += 1.0
        door.shut(door.leave(now_s) or -1, now_s, None)
        assert door.given_up == 1 + more
    now_s += 1.0
    door.served(door.leave(now_s) or -1)
    assert state_of(door) is State.RETURNING
    assert door.shut(door.leave(now_s) or -1, now_s, None) == 0.5
    assert door.given_up == 4


def test_whoever_is_served_ends_the_outage_for_all() -> None:
    door = a_door(concurrency=4, max_outage_s=10.0)
    old = door.leave(0.0) or 0
    door.served(old)
    door.leave(0.0), door.leave(0.0)
    door.shut(old, 0.0, None)
    door.served(old)  # it left before the pause and was served all the same
    door.shut(door.leave(9.0) or -1, 9.0, None)
    door.shut(door.leave(18.0) or -1, 18.0, None)
    assert door.given_up == 0
    door.shut(door.leave(27.0) or -1, 27.0, None)
    assert door.given_up == 1


# --- the layer


class Server:
    """Answers after a second of virtual time with what `plan` says for each request; notes when they came."""

    def __init__(self, *plan: Exception | None, latency_s: float = 1.0) -> None:
        self.plan = iter(plan)
        self.latency_s = latency_s
        self.came_s: list[float] = []
        self.under_way = self.most_under_way = 0

    async def send(self, ask: int) -> int:
        self.came_s.append(round(anyio.current_time(), 3))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(self.latency_s)
        finally:
            self.under_way -= 1
        if (error := next(self.plan, None)) is not None:
            raise error
        return ask


class NoPace:
    learned_rate = None

    def __init__(self) -> None:
        self.answers = self.throttlings = self.doubts = 0
        self.pauses_s: list[float] = []

    async def turn(self) -> None:
        pass

    def left(self, now_s: float) -> None:
        pass

    def came_back(self, left_s: float, now_s: float) -> None:
        pass

    def unsure(self, left_s: float, now_s: float) -> None:
        self.doubts += 1

    def paused(self, wait_s: float) -> None:
        self.pauses_s.append(wait_s)

    def answered(self, left_s: float, now_s: float) -> None:
        self.answers += 1

    def throttled(self, left_s: float, now_s: float) -> None:
        self.throttlings += 1


def through_the_gate(
    server: Any, asks: int, *, door: Door | None = None, pace: Any = None
) -> tuple[list[int | Exception], list[Event]]:
    """All at once, as many tasks as asks."""
    outcomes: dict[int, int | Exception] = {}
    events: list[Event] = []

    async def main() -> None:
        gate = Gate[int, int](
            server,
            door or a_door(concurrency=asks),
            pace=pace or NoPace(),
            width=Width(most=asks),
            emit=events.append,
            clock=LOOP_CLOCK,
        )

        async def one(ask: int) -> None:
            try:
                outcomes[ask] = await gate.send(ask)
            except Exception as error:
                outcomes[ask] = error

        async with anyio.create_task_group() as tasks:
            for ask in range(asks):
                tasks.start_soon(one, ask)

    run(main)
    return [outcomes[ask] for ask in range(asks)], events


def test_one_429_pauses_all_and_then_they_come_back_one_by_one() -> None:
    server = Server(None, Throttled("429", retry_after_s=10))
    outcomes, events = through_the_gate(server, 8)
    # One, then two of which the first is told to wait; one more knocks, then two, then four.
    assert server.came_s == [0, 1, 1, 12, 13, 13, 14, 14]
    assert [type(outcome) for outcome in outcomes].count(Throttled) == 1
    assert [event for event in events if isinstance(event, Paused)] == [
        Paused(reason="Throttled: 429", wait_s=10)
    ]


def test_the_pace_hears_of_a_volley_once_and_never_of_an_unreachable_server() -> None:
    pace = NoPace()
    busy = [Throttled("429", retry_after_s=1)] * 2
    through_the_gate(Server(None, *busy, ConnectFailed("refused"), ServerFailed("500")), 6, pace=pace)
    assert pace.throttlings == 1
    assert pace.answers == 2


def test_the_pace_hears_nothing_of_a_failed_knock() -> None:
    pace = NoPace()
    through_the_gate(Server(None, *[Throttled("429", retry_after_s=1)] * 5), 8, pace=pace)
    assert (pace.throttlings, pace.answers) == (1, 3)


def test_the_pace_hears_of_doubts_but_not_of_a_knock_in_doubt() -> None:
    pace, doubtful = NoPace(), Throttled("503", may_be_chance=True)
    through_the_gate(Server(None, None, None, doubtful), 8, pace=pace)
    assert (pace.doubts, pace.throttlings, pace.pauses_s) == (1, 0, [])
    pace = NoPace()
    through_the_gate(Server(doubtful, doubtful, doubtful), 8, pace=pace)
    assert (pace.doubts, pace.throttlings, pace.pauses_s) == (1, 0, [0.5, 1, 2])


@pytest.mark.parametrize(
    "error", [ServerFailed("500"), TimedOut("late"), Broken("cut"), Astray("404", status_code=404)]
)
def test_a_failure_of_one_request_pauses_nobody(error: TransientError) -> None:
    server = Server(None, error, latency_s=1.0)
    _, events = through_the_gate(server, 4)
    assert [event for event in events if isinstance(event, Paused)] == []
    assert server.came_s == [0, 1, 1, 2]


@pytest.mark.parametrize("error", [Rejected("400", status_code=400), Refused("403")])
def test_a_no_to_a_request_shows_that_the_server_is_there(error: Exception) -> None:
    server = Server(Throttled("429", retry_after_s=1), error)
    outcomes, _ = through_the_gate(server, 4)
    assert error in outcomes
    assert server.came_s == [0, 2, 3, 3]


def test_who_waits_for_its_turn_while_the_door_shuts_does_not_knock() -> None:
    class Slow(NoPace):
        async def turn(self) -> None:
            await anyio.sleep(2)

    server = Server(None, None, Throttled("429", retry_after_s=100), latency_s=1.0)
    door = a_door(concurrency=2)
    through_the_gate(server, 6, door=door, pace=Slow())
    shut_s = 2 + 1 + 2 + 1  # a turn, an answer, a turn, the 429 behind an answer
    assert not [came_s for came_s in server.came_s if shut_s < came_s < shut_s + 100]
    assert len(server.came_s) == 6


def test_an_outage_sends_all_away_who_wait_and_says_what_it_was() -> None:
    class Dead(Server):
        async def send(self, ask: int) -> int:
            await super().send(ask)
            raise ConnectFailed("POST /x: no connection: Connection refused")

    server = Dead(latency_s=0.0)
    outcomes, events = through_the_gate(server, 5, door=a_door(concurrency=5, max_outage_s=0.0))
    assert (
        sorted(type(outcome).__name__ for outcome in outcomes) == ["ConnectFailed"] + ["OutageOutlived"] * 4
    )
    assert any(
        "Connection refused" in str(outcome) for outcome in outcomes if isinstance(outcome, OutageOutlived)
    )
    assert server.came_s == [0, 0.5]
    assert sum(isinstance(event, Paused) for event in events) == 2


def test_a_cancelled_knock_lets_the_next_one_knock() -> None:
    async def main() -> None:
        gate = Gate[int, int](
            Server(Throttled("429", retry_after_s=1)),
            a_door(),
            pace=NoPace(),
            width=Width(most=8),
            emit=lambda event: None,
            clock=LOOP_CLOCK,
        )
        with pytest.raises(Throttled):
            await gate.send(0)
        with anyio.move_on_after(1.5) as scope:
            await gate.send(1)
        assert scope.cancelled_caught
        assert await gate.send(2) == 2

    run(main)


def test_a_knock_on_a_connection_that_was_closed_before_lets_the_next_one_knock() -> None:
    server = Server(Throttled("429", retry_after_s=1), Stale("closed"))
    _, events = through_the_gate(server, 4)
    assert server.came_s == [0, 2, 3, 4]
    assert sum(isinstance(event, Paused) for event in events) == 1
