"""The rate that nobody told: unlimited until the server throttles, then found, kept and now and then tested.

    ==========  =========================================  ==============================================
    phase       the rate                                   a 429 or 503 leads to
    ==========  =========================================  ==============================================
    UNLIMITED   none: a server without a limit is never    DOUBLING from what came through, or after a
                slowed down                                long run HOLDING a little below it
    DOUBLING    twice as much each second                  HOLDING what was borne; CLIMBING where that is
                                                           not known well enough
    CLIMBING    twice as much each second to half of what  HOLDING, or CLIMBING from half the rate
                was borne before, from half to the whole
                in 10 s, then PROBING
    HOLDING     constant; longer each time                 HOLDING, lower, or CLIMBING likewise
    PROBING     1 % more each second, twice that every     HOLDING, or CLIMBING likewise
                5 s without a 429
    DEAF        none                                       nothing
    ==========  =========================================  ==============================================

How much the server bears is measured, not guessed: a bucket of b tokens, filled with R each second, lets
through at most b + R·t in any t seconds, so what came through in any stretch before a 429, less b, is at
most R·t, and the best stretch comes close. b itself is what the first burst got before the first 429.
Where too little came through to measure, the rate is halved, never to less than half of what was borne
lately, and finds its way back by itself. Failed knocks do not come here: they measure an outage.

A rate no higher than what was borne should see no 429 at all. One that does, again and again, is no answer to
how fast we ask: the server throttles for reasons of its own, and going slower would only make the run
slower. Then we are DEAF for a time and leave it to the gate, which pauses everybody as the server wishes.

Below it lies `spacing`, which keeps the distances; a 429 soon after another at a rate that is held means a
bucket of one, and strict distances are tried before a lower rate. 503s that name no pause go to `doubt`:
they lower the rate where they follow it, or where they come while probing after a hold without any.

Growth only counts time in which a request had to wait for its turn: where the server is slower than its
limit, a rate that grows unseen would be worth nothing when it is needed.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from math import exp, inf
from typing import Final

import anyio

from harvester.transport.clock import Clock
from harvester.transport.doubt import Doubt, Verdict
from harvester.transport.limits import LATENESS_S
from harvester.transport.spacing import Spacing

MARGIN: Final = 0.97
"""Of what the server was found to bear; the rest is for jitter, its and ours."""
STEP_DOWN: Final = 0.95
"""At least, after a 429; halved where nothing better is known."""
DOUBLING_S: Final = 1.0
OVERSHOT: Final = 0.85
"""What a bucket without a reserve bears, of the rate at which it ran dry: so much a doubling grows in a
fifth of a second."""
CLIMB_S: Final = 10.0
HOLD_S: Final = 30.0
REMEMBERED_HOLD_S: Final = 20.0
"""What was found by an earlier run is tested sooner."""
MAX_HOLD_S: Final = 600.0
"""A hold doubles each time: a limit that stands is tested ever less often, one that was raised is found in
the end."""
PROBE_PER_S: Final = 0.01
PROBE_DOUBLING_S: Final = 5.0
"""A remembered rate that is a hundred times too low is overcome within a minute, its hold included."""
SHORT_RUN_S: Final = 0.5
"""A first burst is taken to have lasted so long at least, or it would say nothing about the rate."""
LONG_RUN_S: Final = 5.0
"""After so long without a 429 the rate so far says more than the burst that began it."""
MAX_BURST: Final = 64
"""A larger burst than this is not believed: it was no bucket, but a server that began to be busy."""
STUBBORN: Final = 4
"""429s in a row at a held rate, each lower than the one before, after which it cannot be the rate. With a
bucket of one and a jitter of milliseconds it takes up to three steps."""
SURE: Final = 2
"""503s that name no pause while probing, after a hold without any: the rate is too high."""
ALONE_S: Final = 10.0
"""A 429 so long after the one before comes from a machine that was busy for a moment, and casts no doubt on
the rate."""
LATELY_S: Final = 10.0
"""What was borne counts for about as long; pauses within it included."""
DEAF_S: Final = 60.0
MAX_DEAF_S: Final = 3600.0
_STRETCH: Final = 1024
_SHORTEST_STRETCH_S: Final = 0.1


class Phase(Enum):
    UNLIMITED = "unlimited"
    DOUBLING = "doubling"
    CLIMBING = "climbing"
    HOLDING = "holding"
    PROBING = "probing"
    DEAF = "deaf"


@dataclass(slots=True)
class Rate:
    """The mind of `Learned`, without I/O. Seconds of one monotonic clock."""

    rate: float | None = None
    """Requests per second; None while unlimited."""
    phase: Phase = Phase.UNLIMITED
    held: float | None = None
    """What was borne when it was last measured; None where it never was."""
    spacing: Spacing = field(default_factory=Spacing)
    doubt: Doubt = field(default_factory=Doubt)
    _next_s: float = -inf
    _grown_s: float = 0.0
    _ceiling: float = inf
    _climb_per_s: float = 0.0
    _hold_s: float = HOLD_S
    _deaf_s: float = DEAF_S
    _phase_ends_s: float | None = None
    _in_vain: int = 0
    """429s at a rate that had been borne, since one was last held to its end."""
    _throttled_s: float = -inf
    _burst: int = 0
    _first_s: float | None = None
    _answers: int = 0
    """Since the last 429; `_recent` holds when the last of them came."""
    _weight: float = 0.0
    """Answers, each fading within `LATELY_S`, as of `_weighed_s`."""
    _weighed_s: float = 0.0
    _held_cleanly: bool = False
    """No 503 since the rate was last lowered to what is held."""
    _doubted_share: float = inf
    """Where it is held for no other reason than 503s that were taken to be related: their share before
    that."""
    _unsure: int = 0
    """503s since it is probed."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_STRETCH))

    @classmethod
    def remembered(cls, rate: float) -> "Rate":
        """Begins with what an earlier run found, and holds it as if just found."""
        return cls(rate=rate, phase=Phase.HOLDING, held=rate)

    @property
    def worth_remembering(self) -> float | None:
        """Not while it is in doubt whether the 429s have anything to do with the rate."""
        now_s = self._grown_s
        if self._in_vain > 1 and now_s - self._throttled_s < HOLD_S:
            return None
        if self.held is None or self.rate is None or self.phase is not Phase.PROBING:
            return self.held
        return max(self.held, MARGIN * min(self.rate, self._borne(now_s)))

    @property
    def per_s(self) -> float | None:
        """The rate for now: a lower one while it is tried."""
        return self.doubt.slow_per_s or self.rate

    def wait_s(self, now_s: float) -> float:
        per_s = self.per_s
        if per_s is None:
            return 0.0
        return max(0.0, self._next_s - now_s, self.spacing.wait_s(now_s, per_s=per_s))

    def leave(self, now_s: float, *, waited: bool) -> None:
        if self.doubt.slow_per_s is None and self.rate is not None and waited and self._first_s is not None:
            self._grow(self.rate, now_s)  # not in the pause, where turns are taken in vain
        self._grown_s = now_s
        if (per_s := self.per_s) is not None:
            self._next_s = max(self._next_s, now_s - LATENESS_S) + 1 / per_s

    def left(self, now_s: float) -> None:
        if (per_s := self.per_s) is not None:
            self.spacing.left(now_s, per_s=per_s)

    def answered(self, now_s: float) -> None:
        if self._first_s is None:
            self._first_s = self._grown_s = now_s
        self._answers += 1
        self.spacing.answered()
        self._weight = self._weight_at(now_s) + 1
        self._weighed_s = now_s
        self._recent.append(now_s)
        if self.doubt.answered(now_s) is Verdict.RELATED:
            self._hold(now_s, MARGIN * self.doubt.borne_per_s)
            self._doubted_share = self.doubt.share
            self._anew(now_s)

    def unsure(self, left_s: float, now_s: float) -> None:
        """For a 503 that names no pause."""
        if self.phase is Phase.PROBING and self._held_cleanly:
            self._unsure += 1
            if self._unsure >= SURE:
                self.throttled(now_s)
            return
        self._held_cleanly = False
        if (
            self.doubt.refused(left_s, now_s) is Verdict.UNRELATED
            and self._doubted_share < 2 * self.doubt.share
        ):
            # Held for no other reason, and it helped little: that verdict was an accident.
            self.rate = self.held = None
            self.phase = Phase.UNLIMITED

    def throttled(self, now_s: float) -> None:
        """For the first answer that throttles, not for those that left before it came, nor for knocks."""
        if self.phase is Phase.DEAF:
            if self._phase_ends_s is not None and now_s < self._phase_ends_s:
                return
            self.phase = Phase.UNLIMITED
        if self.rate is not None and self.held is not None and self.rate <= self.held:
            if now_s - self._throttled_s >= ALONE_S:
                self._in_vain = 0
            self._in_vain += 1
            if self.spacing.throttled(per_s=self.rate):
                self._anew(now_s)
                return
        if self._in_vain >= STUBBORN:
            self._go_deaf(now_s)
        elif self.rate is None:
            self._first_limit(now_s)
        else:
            borne, floor = MARGIN * self._borne(now_s), min(self._lately(now_s) / 2, self.rate)
            if self.spacing.is_strict and self.phase in (Phase.DOUBLING, Phase.PROBING):
                borne = max(borne, (OVERSHOT if self.phase is Phase.DOUBLING else STEP_DOWN) * self.rate)
            if borne < self.rate / 2:
                self._climb(self.rate, floor)
            else:
                self._hold(now_s, max(min(borne, STEP_DOWN * self.rate), floor))
        self._anew(now_s)

    def _anew(self, now_s: float) -> None:
        self._grown_s = now_s
        self._next_s = now_s
        self._throttled_s = now_s
        self._first_s = None
        self._answers = 0
        self._recent.clear()

    def _first_limit(self, now_s: float) -> None:
        self._burst = min(self._answers, MAX_BURST)
        self.spacing.is_strict = self._answers <= 2
        run_s = 0.0 if self._first_s is None else now_s - self._first_s
        rate = max(self._answers, 1) / max(run_s, SHORT_RUN_S)
        if run_s >= LONG_RUN_S:
            self._hold(now_s, rate * STEP_DOWN)
        else:
            self.rate = rate
            self.phase = Phase.DOUBLING

    def _borne(self, now_s: float) -> float:
        """Requests per second that the server let through at least, whatever its bucket held."""
        best = self._answers / max(now_s - self._throttled_s, _SHORTEST_STRETCH_S)
        for before, since_s in enumerate(self._recent):
            if now_s - since_s < _SHORTEST_STRETCH_S:
                break
            best = max(best, (len(self._recent) - before - self._burst) / (now_s - since_s))
        return best

    def _lately(self, now_s: float) -> float:
        """Requests per second that were borne on average, bursts and pauses included."""
        return self._weight_at(now_s) / LATELY_S

    def _weight_at(self, now_s: float) -> float:
        return self._weight * exp((self._weighed_s - now_s) / LATELY_S)

    def _go_deaf(self, now_s: float) -> None:
        self.rate = self.held = None
        self.phase = Phase.DEAF
        self._phase_ends_s = now_s + self._deaf_s
        self._deaf_s = min(self._deaf_s * 2, MAX_DEAF_S)
        self._hold_s = HOLD_S
        self._in_vain = 0

    def _climb(self, rate: float, floor: float) -> None:
        self.rate = max(rate / 2, floor)
        self._ceiling = max(rate, self.held or 0.0)
        self._climb_per_s = self._ceiling / 2 / CLIMB_S
        self.phase = Phase.CLIMBING

    def _hold(self, now_s: float, rate: float) -> None:
        self._held_cleanly, self._unsure, self._doubted_share = True, 0, inf
        self.rate = self.held = rate
        self.phase = Phase.HOLDING
        self._phase_ends_s = now_s + self._hold_s
        self._hold_s = min(self._hold_s * 2, MAX_HOLD_S)

    def _grow(self, rate: float, now_s: float) -> None:
        waited_s = now_s - self._grown_s
        match self.phase:
            case Phase.UNLIMITED | Phase.DEAF:
                pass
            case Phase.DOUBLING:
                self.rate = rate * 2 ** (waited_s / DOUBLING_S)
            case Phase.CLIMBING if rate < self._ceiling / 2:
                self.rate = min(rate * 2 ** (waited_s / DOUBLING_S), self._ceiling / 2)
            case Phase.CLIMBING:
                self.rate = rate + self._climb_per_s * waited_s
                if self.rate >= self._ceiling:
                    self._probe(now_s)
            case Phase.HOLDING:
                if self._phase_ends_s is None:
                    self._phase_ends_s = now_s + REMEMBERED_HOLD_S
                elif now_s >= self._phase_ends_s:
                    self._probe(now_s)
            case Phase.PROBING:
                if self._phase_ends_s is not None and now_s >= self._phase_ends_s:
                    self._climb_per_s *= 2
                    self._phase_ends_s = now_s + PROBE_DOUBLING_S
                self.rate = rate * (1 + self._climb_per_s * waited_s)

    def _probe(self, now_s: float) -> None:
        if now_s - self._throttled_s >= CLIMB_S:
            self._in_vain = 0
        self.phase = Phase.PROBING
        self._climb_per_s = PROBE_PER_S
        self._phase_ends_s = now_s + PROBE_DOUBLING_S


class Learned:
    """A pace for all tasks: one waits for the next turn, the others queue behind it, so that a change of
    the rate holds for all of them at once."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._queue = anyio.Lock(fast_acquire=True)

    @property
    def learned_rate(self) -> float | None:
        return self._rate.worth_remembering

    async def turn(self) -> None:
        if self._rate.per_s is None:
            return
        async with self._queue:
            waited = False
            while (wait_s := self._rate.wait_s(self._clock.monotonic())) > 0:
                waited = True
                await self._clock.sleep(wait_s)
            self._rate.leave(self._clock.monotonic(), waited=waited)

    def left(self, now_s: float, /) -> None:
        self._rate.left(now_s)

    def came_back(self, left_s: float, now_s: float, /) -> None:
        self._rate.spacing.came_back(left_s, now_s)

    def unsure(self, left_s: float, now_s: float, /) -> None:
        self._rate.unsure(left_s, now_s)

    def answered(self, now_s: float, /) -> None:
        self._rate.answered(now_s)

    def paused(self, wait_s: float, /) -> None:
        self._rate.doubt.paused(wait_s)

    def throttled(self, now_s: float, /) -> None:
        self._rate.throttled(now_s)
