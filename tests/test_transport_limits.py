"""How many are under way, how far apart they leave, and the rate that nobody told."""

import random
from collections.abc import Callable

import anyio
import pytest

from harvester.errors import Throttled
from harvester.transport import LOOP_CLOCK, LoopClock, Pace, TransportSettings, Width, pace_of
from harvester.transport.learned import (
    DEAF_S,
    HOLD_S,
    MARGIN,
    REMEMBERED_HOLD_S,
    STEP_DOWN,
    STUBBORN,
    Learned,
    Phase,
    Rate,
)
from harvester.transport.limits import MAX_STEPS_DOWN, SLOWER, STEP_UP_AFTER_S, Concurrency, Steady
from tests.paced import paced
from tests.virtual_time import run


class Bucket:
    """A server that allows `rate` a second with a burst, by its own clock; the rest it sends away for 1 s."""

    def __init__(self, rate: float, burst: float, *, latency_s: float = 0.01) -> None:
        self.rate, self.burst, self.latency_s = rate, burst, latency_s
        self.tokens, self.as_of_s = burst, 0.0
        self.served_s: list[float] = []
        self.refused_s: list[float] = []
        self.under_way = self.most_under_way = 0

    async def send(self, ask: int) -> int:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(self.latency_s / 2)
            now_s = anyio.current_time()
            self.tokens = min(self.burst, self.tokens + (now_s - self.as_of_s) * self.rate)
            self.as_of_s = now_s
            serves = self.tokens >= 1
            (self.served_s if serves else self.refused_s).append(now_s)
            self.tokens -= serves
            await anyio.sleep(self.latency_s / 2)
        finally:
            self.under_way -= 1
        if not serves:
            raise Throttled("429", retry_after_s=1.0)
        return ask

    def used_after(self, since_s: float) -> float:
        """The share of the permitted requests that were made."""
        served = [at_s for at_s in self.served_s if at_s >= since_s]
        return len(served) / ((served[-1] - since_s) * self.rate)

    def refused_share(self) -> float:
        return len(self.refused_s) / (len(self.served_s) + len(self.refused_s))


def harvest(server: Bucket, make_pace: Callable[[], Pace], *, until_s: float, tasks: int = 16) -> Pace:
    async def main() -> Pace:
        pace, width, rng = make_pace(), Width(most=tasks), random.Random(1)
        layer = paced(server, tasks=tasks, pace=pace, width=width, rng=rng)

        async def work() -> None:
            while anyio.current_time() < until_s:
                await layer.send(1)

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(work)
        return pace

    return run(main)


def learned(rate: Rate | None = None) -> Callable[[], Pace]:
    return lambda: Learned(rate or Rate(), LOOP_CLOCK)


# --- concurrency


def test_no_more_are_under_way_than_agreed_and_all_come_through() -> None:
    server = Bucket(1e9, 1e9)

    async def main() -> None:
        layer = Concurrency(server, Width(most=3))
        async with anyio.create_task_group() as tasks:
            for ask in range(20):
                tasks.start_soon(layer.send, ask)

    run(main)
    assert server.most_under_way == 3
    assert len(server.served_s) == 20


def test_a_failed_or_cancelled_request_gives_its_place_back() -> None:
    server = Bucket(1, 1)

    async def main() -> None:
        layer = Concurrency(server, Width(most=1))
        with anyio.move_on_after(0.001):
            await layer.send(1)
        await layer.send(2)
        with pytest.raises(Throttled):
            await layer.send(3)
        await anyio.sleep(5)
        assert await layer.send(4) == 4

    run(main)


# --- a rate that the job names


@pytest.mark.parametrize("rate", [0.5, 5, 20, 200])
def test_a_named_rate_is_used_fully_and_evenly(rate: float) -> None:
    server = Bucket(rate, 2)
    harvest(server, lambda: Steady(rate, LOOP_CLOCK), until_s=40 / rate)
    assert server.refused_s == []
    assert server.used_after(server.served_s[0]) > 0.96
    gaps_s = [after - before for before, after in zip(server.served_s, server.served_s[1:], strict=False)]
    assert min(gaps_s) * rate > 0.55


@pytest.mark.parametrize("rate", [5, 20])
def test_a_server_that_counts_strictly_costs_a_few_429s_and_a_little_of_the_rate(rate: float) -> None:
    server = Bucket(rate, 1)
    harvest(server, lambda: Steady(rate, LOOP_CLOCK), until_s=800 / rate)
    assert server.used_after(0) > 0.8
    assert server.refused_share() < 0.005


def test_a_steady_pace_steps_down_and_up_again() -> None:
    async def rate_of(pace: Steady) -> float:
        await pace.turn()
        began_s = anyio.current_time()
        for _ in range(10):
            await pace.turn()
        return 10 / (anyio.current_time() - began_s)

    async def main() -> None:
        pace = Steady(10, LOOP_CLOCK)
        assert await rate_of(pace) == pytest.approx(10, rel=0.01)
        for _ in range(20):
            pace.throttled(100.0, 100.0)
        assert await rate_of(pace) == pytest.approx(10 * SLOWER**MAX_STEPS_DOWN, rel=0.01)
        pace.answered(100.0, 100.0 + STEP_UP_AFTER_S - 1)
        assert await rate_of(pace) == pytest.approx(10 * SLOWER**MAX_STEPS_DOWN, rel=0.01)
        for step in range(1, MAX_STEPS_DOWN + 3):
            pace.answered(100.0, 100.0 + step * STEP_UP_AFTER_S)
        assert await rate_of(pace) == pytest.approx(10, rel=0.01)

    run(main)


# --- a rate that nobody told


def test_a_server_without_a_limit_is_never_slowed_down() -> None:
    server = Bucket(1e9, 1e9, latency_s=0.01)
    pace = harvest(server, learned(), until_s=0.5)
    assert pace.learned_rate is None
    full = 16 / 0.01 * 0.5
    assert len(server.served_s) > full * 0.9


@pytest.mark.parametrize(
    ("rate", "burst", "used", "refused_after"),
    [(5, 2, 0.88, 0.01), (5, 20, 0.88, 0.01), (20, 1, 0.8, 0.005), (20, 5, 0.88, 0.01), (40, 20, 0.88, 0.01)],
)
def test_the_limit_is_found_and_kept(rate: float, burst: float, used: float, refused_after: float) -> None:
    server = Bucket(rate, burst)
    pace = harvest(server, learned(), until_s=100 if rate < 20 else 50)
    assert server.used_after(30) > used
    late = [at_s for at_s in server.refused_s if at_s >= 30]
    assert len(late) <= refused_after * len([at_s for at_s in server.served_s if at_s >= 30])
    assert pace.learned_rate == pytest.approx(rate, rel=0.2)


class Ill(Bucket):
    """Sends everybody away from `since_s` to `until_s`, and a share of them at any time."""

    def __init__(
        self,
        rate: float,
        *,
        since_s: float = 0.0,
        until_s: float = 0.0,
        asks_s: float | None = None,
        share: float = 0.0,
    ) -> None:
        super().__init__(rate, 5 if rate < 1e9 else rate)
        self.since_s, self.until_s, self.asks_s, self.share = since_s, until_s, asks_s, share
        self.rng = random.Random(11)

    async def send(self, ask: int) -> int:
        now_s = anyio.current_time()
        if self.since_s <= now_s < self.until_s or self.rng.random() < self.share:
            self.refused_s.append(now_s)
            await anyio.sleep(self.latency_s)
            raise Throttled("429", retry_after_s=self.asks_s)
        return await super().send(ask)

    def served_between(self, since_s: float, until_s: float) -> int:
        return sum(since_s <= at_s < until_s for at_s in self.served_s)


@pytest.mark.parametrize("asks_s", [None, 1.0])
def test_a_server_that_is_ill_at_first_is_asked_at_full_speed_soon_after(asks_s: float | None) -> None:
    server = Ill(1e9, until_s=8, asks_s=asks_s)
    pace = harvest(server, learned(), until_s=30)
    well_s = server.served_s[0]
    assert server.served_between(well_s, well_s + 4) > 20
    assert server.served_between(well_s + 10, well_s + 11) > 500
    assert pace.learned_rate is None


@pytest.mark.parametrize("asks_s", [None, 1.0])
def test_an_outage_leaves_the_rate_near_what_was_borne_before(asks_s: float | None) -> None:
    server = Ill(20, since_s=40, until_s=48, asks_s=asks_s)
    pace = harvest(server, learned(), until_s=80)
    assert server.served_between(70, 80) > 0.8 * 20 * 10
    assert pace.learned_rate == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_faults_at_random_do_not_make_it_crawl(share: float) -> None:
    server = Ill(1e9, share=share)
    harvest(server, learned(), until_s=60)
    assert server.served_between(0, 15) > 100
    assert server.served_between(15, 60) > 45 * 2 / share


class Hiccups(Bucket):
    """Answers a share of the requests, whatever their rate, with a 503 that names no pause; and all beyond
    the rate."""

    def __init__(self, share: float, *, rate: float = 1e9, latency_s: float = 0.02) -> None:
        super().__init__(rate, 5 if rate < 1e9 else rate, latency_s=latency_s)
        self.share, self.rng = share, random.Random(7)

    async def send(self, ask: int) -> int:
        if self.rng.random() < self.share:
            await anyio.sleep(self.latency_s)
            self.refused_s.append(anyio.current_time())
            raise Throttled("503", may_be_chance=True)
        try:
            return await super().send(ask)
        except Throttled:
            raise Throttled("503", may_be_chance=True) from None


@pytest.mark.parametrize(("share", "of_full"), [(0.0, 0.97), (0.05, 0.8), (0.2, 0.5)])
def test_503s_at_random_do_not_throttle_the_run(share: float, of_full: float) -> None:
    server, rate = Hiccups(share), Rate()
    harvest(server, learned(rate), until_s=20)
    full = 16 / server.latency_s * 20
    assert len(server.served_s) >= of_full * full
    assert rate.rate is None


def test_a_limit_that_is_told_by_503s_alone_is_found_and_kept() -> None:
    server, rate = Hiccups(0.0, rate=20.0), Rate()
    harvest(server, learned(rate), until_s=120)
    assert server.used_after(30) > 0.8
    late = [at_s for at_s in server.refused_s if at_s >= 30]
    assert len(late) < 0.02 * 20 * 90
    assert rate.rate == pytest.approx(20, rel=0.2)


def test_503s_at_random_beside_a_limit_leave_the_rate_near_it() -> None:
    server, rate = Hiccups(0.1, rate=20.0), Rate.remembered(19.0)
    harvest(server, learned(rate), until_s=90)
    assert len([at_s for at_s in server.served_s if at_s >= 30]) > 0.6 * 20 * 60


def test_a_remembered_rate_that_is_far_too_low_is_overcome_within_a_minute() -> None:
    server = Ill(1e9)
    harvest(server, learned(Rate.remembered(2.0)), until_s=60)
    assert server.served_between(59, 60) > 200


def test_what_was_learned_spares_the_next_run_the_first_burst() -> None:
    server = Bucket(20, 2)
    harvest(server, learned(Rate.remembered(19.0)), until_s=20)
    assert server.refused_s == []
    assert server.used_after(1) > 0.9


def test_a_limit_that_was_lifted_is_found_to_be() -> None:
    rate = Rate.remembered(5.0)
    server = Bucket(1e9, 1e9, latency_s=0.1)
    harvest(server, learned(rate), until_s=70)
    assert rate.phase is Phase.PROBING
    assert rate.rate is not None
    assert rate.rate > 10


def grown(rate: Rate, since_s: float, until_s: float) -> float:
    """The rate after a time in which requests came as fast as they might."""
    rate.answered(since_s)
    now_s = since_s
    while now_s < until_s:
        now_s += rate.wait_s(now_s) or 0.001
        rate.leave(now_s, waited=True)
    assert rate.rate is not None
    return rate.rate


def phase_of(rate: Rate) -> Phase:
    """The same as rate.phase, but the type checker does not believe that it stays."""
    return rate.phase


def burst_then_throttled(rate: Rate, answers: int = 10) -> None:
    for n in range(answers):
        rate.answered(n / 1000)
    rate.throttled(answers / 1000)


def test_a_first_429_makes_a_rate_of_what_came_through_and_doubles_it_each_second() -> None:
    rate = Rate()
    assert rate.wait_s(0.0) == 0
    burst_then_throttled(rate)
    assert (rate.phase, rate.rate) == (Phase.DOUBLING, 20)
    assert grown(rate, 1.0, 4.0) == pytest.approx(20 * 2**3, rel=0.2)


def test_a_server_that_throttles_the_very_first_request_gets_a_trickle() -> None:
    rate = Rate()
    rate.throttled(0.0)
    assert rate.rate == 2


def test_what_was_borne_between_two_429s_is_where_a_slow_climb_begins_and_what_it_finds_is_held() -> None:
    rate = Rate()
    burst_then_throttled(rate, answers=5)
    high = grown(rate, 1.0, 4.0)
    assert high > 50
    for n in range(500):  # 50 a second for ten seconds, and then too many
        rate.answered(1 + n / 50)
    rate.throttled(11.0)
    assert phase_of(rate) is Phase.CLIMBING
    assert rate.rate == rate.held == pytest.approx(50 * MARGIN, rel=0.05)
    assert grown(rate, 12.0, 17.0) == pytest.approx((high + 50 * MARGIN) / 2, rel=0.05)
    for n in range(500):
        rate.answered(12 + n / 50)
    rate.throttled(22.0)
    assert phase_of(rate) is Phase.HOLDING
    assert rate.rate == pytest.approx(50 * MARGIN, rel=0.05)
    assert rate.held == rate.rate


def test_where_nothing_is_known_it_halves_and_climbs() -> None:
    rate = Rate()
    burst_then_throttled(rate)
    high = grown(rate, 1.0, 6.0)
    rate.throttled(6.0)
    assert phase_of(rate) is Phase.CLIMBING
    assert rate.rate == pytest.approx(high / 2)
    assert grown(rate, 6.0, 11.0) == pytest.approx(high * 0.75, rel=0.05)
    assert grown(rate, 11.0, 17.0) > high * 0.95
    assert phase_of(rate) is Phase.PROBING


def test_a_429_lowers_the_rate_whatever_was_measured() -> None:
    rate = Rate.remembered(10.0)
    for n in range(100):
        rate.answered(n / 10)
    rate.throttled(10.0)
    assert rate.rate == 10 * STEP_DOWN


@pytest.mark.parametrize("lately", [0, 16])
def test_what_cannot_be_measured_is_halved_but_not_below_half_of_what_was_borne_lately(lately: int) -> None:
    rate = Rate.remembered(20.0)
    for n in range(lately * 100):
        rate.answered(n / lately)
    rate.throttled(100.0)
    first = rate.rate or 0.0
    for n in range(6):
        rate.held = 20.0 + n  # so that it does not become deaf
        rate.throttled(100.1 + n / 10)
        rate._in_vain = 0
    assert rate.rate == pytest.approx(first / 2**6 if lately == 0 else lately / 2, rel=0.15)


def test_a_climb_that_was_over_at_once_takes_no_doubt_away() -> None:
    rate = Rate.remembered(4.0)
    for n in range(200):
        rate.answered(n / 20)
    for n in range(STUBBORN - 1):
        rate.throttled(10 + n / 10)
    assert grown(rate, 10.3, 11.5) == pytest.approx(4, rel=0.1)
    assert phase_of(rate) is Phase.PROBING
    assert rate.worth_remembering is None


def test_a_rate_that_was_halved_doubles_until_near_what_was_borne_and_then_climbs() -> None:
    rate = Rate.remembered(64.0)
    for n in range(3):
        rate.throttled(n / 10)
    assert (phase_of(rate), rate.rate) == (Phase.CLIMBING, 8)
    assert grown(rate, 1.0, 3.0) == pytest.approx(32, rel=0.1)
    assert grown(rate, 3.0, 8.0) == pytest.approx(48, rel=0.1)
    assert phase_of(rate) is Phase.CLIMBING
    assert grown(rate, 8.0, 14.0) == pytest.approx(64, rel=0.1)
    assert phase_of(rate) is Phase.PROBING


def test_what_was_borne_while_probing_is_worth_remembering() -> None:
    rate = Rate.remembered(5.0)
    now_s = 0.0
    while now_s < 45.0:
        rate.answered(now_s)
        now_s += rate.wait_s(now_s) or 0.001
        rate.leave(now_s, waited=True)
    assert rate.rate is not None
    assert rate.rate > 10
    assert rate.worth_remembering == pytest.approx(rate.rate, rel=0.2)


def test_a_guess_from_the_first_burst_or_a_rate_in_doubt_is_not_worth_remembering() -> None:
    rate = Rate()
    burst_then_throttled(rate)
    assert rate.rate == 20
    assert rate.worth_remembering is None
    rate = Rate.remembered(20.0)
    rate.throttled(1.0)
    assert rate.worth_remembering == 20
    rate.throttled(2.0)
    assert rate.worth_remembering is None


def test_it_holds_longer_each_time_before_it_probes() -> None:
    rate = Rate.remembered(10.0)
    now_s, holds_s = 0.0, []
    for _ in range(3):
        rate.answered(now_s)
        began_s = now_s
        while rate.phase is not Phase.PROBING:
            now_s += 0.1
            rate.leave(now_s, waited=True)
        holds_s.append(now_s - began_s)
        for n in range(100):
            rate.answered(now_s + n / 10)
        now_s += 10
        rate.throttled(now_s)
    assert holds_s == pytest.approx([REMEMBERED_HOLD_S, HOLD_S, HOLD_S * 2], abs=0.3)


def test_a_turn_wakes_one_task_and_they_come_in_the_order_in_which_they_asked() -> None:
    class Counting(LoopClock):
        sleeps = 0

        async def sleep(self, seconds: float, /) -> None:
            self.sleeps += 1
            await super().sleep(seconds)

    clock, order = Counting(), list[int]()

    async def main() -> None:
        pace = Learned(Rate.remembered(10.0), clock)

        async def one(number: int) -> None:
            await pace.turn()
            order.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(one, number)

    run(main)
    assert order == list(range(10))
    assert clock.sleeps == 9


def test_a_rate_that_is_not_needed_does_not_grow() -> None:
    rate = Rate()
    burst_then_throttled(rate)
    for n in range(100):
        rate.leave(10.0 + n, waited=False)
    assert rate.rate == 20


def test_a_rate_does_not_grow_in_the_pause_after_a_429() -> None:
    rate = Rate()
    burst_then_throttled(rate)
    for n in range(100):
        rate.leave(0.01 + n / 20, waited=True)
    assert rate.rate == 20
    rate.answered(5.0)
    rate.leave(5.5, waited=True)
    assert rate.rate == pytest.approx(20 * 2**0.5)


def test_a_server_that_throttles_however_slowly_it_is_asked_is_left_to_the_gate() -> None:
    class Moody(Bucket):
        async def send(self, ask: int) -> int:
            await super().send(ask)
            if len(self.served_s) % 25 == 0:
                self.refused_s.append(anyio.current_time())
                raise Throttled("503", retry_after_s=0.0)
            return ask

    rate = Rate()
    server = Moody(1e9, 1e9)
    harvest(server, learned(rate), until_s=8, tasks=4)
    assert rate.phase is Phase.DEAF
    assert learned(rate)().learned_rate is None
    assert len([at_s for at_s in server.served_s if at_s > 7]) > 200


def test_a_deaf_pace_listens_again_in_the_end() -> None:
    rate = Rate.remembered(100.0)
    for n in range(STUBBORN):
        assert rate.phase is not Phase.DEAF
        rate.throttled(float(n))
    assert (phase_of(rate), rate.rate) == (Phase.DEAF, None)
    rate.throttled(STUBBORN + DEAF_S - 2)
    assert phase_of(rate) is Phase.DEAF
    rate.throttled(STUBBORN + DEAF_S)
    assert phase_of(rate) is Phase.DOUBLING


def test_the_settings_choose_the_pace() -> None:
    def pace(**more: float) -> Pace:
        return pace_of(TransportSettings(base_url="https://localhost", auth="none", **more))  # type: ignore[arg-type]

    assert isinstance(pace(requests_per_second=3.0), Steady)
    assert isinstance(pace(requests_per_second=3.0, initial_rate=9.0), Steady)
    assert pace().learned_rate is None
    assert pace(initial_rate=9.0).learned_rate == 9
