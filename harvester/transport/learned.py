"""The rate that nobody told: unlimited until the server throttles, then found, kept and now and then tested.

    ==========  =========================================  ==============================================
    phase       the rate                                   a 429 or 503 leads to
    ==========  =========================================  ==============================================
    UNLIMITED   none: a server without a limit is never    DOUBLING from what came through, or after a
                slowed down                                long run HOLDING a little below it
    DOUBLING    twice as much each second                  CLIMBING from what was borne to the rate
    CLIMBING    twice as much each second to half of where HOLDING what was borne, or CLIMBING from half
                it leads, then evenly within 10 s; PROBING the rate where that is not known
    HOLDING     constant; longer each time                 nothing where it comes seldom; HOLDING, lower, or
                                                           CLIMBING likewise
    PROBING     1 % more each second, twice that every     HOLDING, or CLIMBING likewise
                5 s without a 429
    DEAF        none                                       nothing, unless they come more often than before
    ==========  =========================================  ==============================================

How much the server bears is measured, not guessed (`bucket`). A rate that doubles overshoots too fast to
measure well by, so a slower climb follows. Where too little came through to measure, the rate is halved, but
not to less than half of what was borne lately, and finds its way back by itself. Failed knocks do not come
here: they measure an outage.

A rate no higher than what was borne should see no 429 at all. One that comes seldom all the same is an
accident, of a machine that was busy for a moment: a lower rate costs more than it does. Where they come again
and again they are no answer to how fast we ask: the server throttles for reasons of its own, and going slower
would only make the run slower. Then we are DEAF for a time and leave it to the gate, which pauses everybody
as the server wishes; until they come much more often than before, which shows that it was the rate. Then what
was held is held again, and as many of them as came at any rate are borne with.

Below it lies `spacing`, which keeps the distances; a 429 soon after another at a rate that is held means a
bucket of one, and strict distances are tried before a lower rate. 503s that name no pause go to `doubt`:
they lower the rate where they follow it, or where they come while probing after a hold without any.

Growth only counts time in which a request had to wait for its turn: where the server is slower than its
limit, a rate that grows unseen would be worth nothing when it is needed.
"""

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

import anyio

from harvester.transport.arrears import LATENESS_S
from harvester.transport.bucket import Bucket
from harvester.transport.clock import Clock
from harvester.transport.doubt import Doubt, Verdict
from harvester.transport.spacing import Spacing

MARGIN: Final = 0.97
"""Of what the server was found to bear; the rest is for jitter, its and ours."""
STEP_DOWN: Final = 0.95
"""At least, after a 429; halved where nothing better is known."""
STEP_DOWN_STRICT: Final = 0.93
"""A bucket without a reserve runs dry when one request is late, however much it was filled with."""
DOUBLING_S: Final = 1.0
BEYOND: Final = 1.1
"""A bucket without a reserve runs dry at the first request that is late: a climb leads so far beyond the rate
at which it did."""
CLIMB_S: Final = 10.0
HOLD_S: Final = 30.0
REMEMBERED_HOLD_S: Final = 20.0
"""What was found by an earlier run is tested sooner."""
MAX_HOLD_S: Final = 600.0
"""A hold doubles each time the test finds nothing better: a limit that stands is tested ever less often, one
that was raised is found in the end."""
BETTER: Final = 1.03
"""Times what was held."""
PROBE_PER_S: Final = 0.01
PROBE_DOUBLING_S: Final = 5.0
"""A remembered rate that is a hundred times too low is overcome within a minute, its hold included."""
SHORT_RUN_S: Final = 0.5
"""A first burst is taken to have lasted so long at least, or it would say nothing about the rate."""
LONG_RUN_S: Final = 5.0
"""After so long without a 429 the rate so far says more than the burst that began it."""
SINGLE: Final = 1.3
"""Tokens: a bucket that seems to hold no more is taken to hold one."""
STUBBORN: Final = 4
"""429s in a row at a held rate, each lower than the one before, after which it cannot be the rate. With a
bucket of one and a jitter of milliseconds it takes up to three steps."""
SURE: Final = 2
"""503s that name no pause while probing, after a hold without any: the rate is too high."""
SELDOM_S: Final = 12.0
SELDOM: Final = 150
"""A 429 at a held rate, so many seconds and answers after the one before, costs no more than a rate that is
lower by a twentieth."""
SELDOM_STRICT: Final = 400
"""Answers, where the bucket has no reserve: there is an accident sooner, and no reason to have another."""
DEAF_S: Final = 60.0
MAX_DEAF_S: Final = 3600.0
MORE: Final = 4.0
"""Times the share of 429s that there was before: it was the rate."""


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
    bucket: Bucket = field(default_factory=Bucket)
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
    _vain_answers: int = 0
    """Between them."""
    _stubborn: int = STUBBORN
    _deaf_to: int = 0
    """429s since it is deaf."""
    _borne_before: float = 0.0
    """What was held when the first of those came."""
    _borne_with: int = 0
    """Answers between two 429s, where going slower was found to be no use."""
    _first_s: float | None = None
    _held_cleanly: bool = False
    """No 503 since the rate was last lowered to what is held."""
    _doubted_share: float = inf
    """Where it is held for no other reason than 503s that were taken to be related: their share before
    that."""
    _unsure: int = 0
    """503s since it is probed."""

    @classmethod
    def remembered(cls, rate: float) -> "Rate":
        """Begins with what an earlier run found, and holds it as if just found."""
        return cls(rate=rate, phase=Phase.HOLDING, held=rate)

    @property
    def worth_remembering(self) -> float | None:
        """Not while it is in doubt whether the 429s have anything to do with the rate."""
        now_s = self._grown_s
        if self._in_vain > 1 and now_s - self.bucket.dry_s < HOLD_S:
            return None
        if self.held is None or self.rate is None or self.phase is not Phase.PROBING:
            return self.held
        return max(self.held, MARGIN * min(self.rate, self.bucket.borne(now_s)))

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
            made_up_s = max(LATENESS_S, (self.spacing.spare - 1) / per_s)
            self._next_s = max(self._next_s, now_s - made_up_s) + 1 / per_s

    def left(self, now_s: float) -> None:
        if (per_s := self.per_s) is not None:
            self.spacing.left(now_s, per_s=per_s)

    def answered(self, now_s: float, *, left_s: float | None = None) -> None:
        """`left_s`: when its request did; as good as now where that does not matter."""
        if self._first_s is None:
            self._first_s = self._grown_s = now_s
        self.bucket.answered(now_s if left_s is None else left_s, now_s)
        self.spacing.answered()
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

    def throttled(self, now_s: float, *, left_s: float | None = None) -> None:
        """For the first answer that throttles, not for those that left before it came, nor for knocks."""
        left_s = now_s if left_s is None else left_s
        if self.phase is Phase.DEAF:
            if self._phase_ends_s is not None and now_s < self._phase_ends_s:
                self._deaf_to_another(now_s)
                return
            self.phase = Phase.UNLIMITED
            self._in_vain = self._vain_answers = 0
        if self.rate is None:
            self._first_limit(now_s, left_s)
        elif self.held is not None and self.rate <= self.held:
            self._throttled_in_vain(self.rate, now_s, left_s)
        else:
            self._found(self.rate, now_s, left_s)
        self._anew(now_s)

    def _anew(self, now_s: float) -> None:
        self.bucket.ran_dry(now_s)
        self.spacing.spare = max(0.5, self.bucket.burst / 2 - 0.5)
        self._grown_s = now_s
        self._next_s = now_s
        self._first_s = None

    def _first_limit(self, now_s: float, left_s: float) -> None:
        self.bucket.burst_ended(left_s)
        self.spacing.is_strict = self.bucket.answers <= 2
        run_s = 0.0 if self._first_s is None else now_s - self._first_s
        rate = max(self.bucket.answers, 1) / max(run_s, SHORT_RUN_S)
        if run_s >= LONG_RUN_S:
            self._hold(now_s, rate * STEP_DOWN)
        else:
            self.rate = rate
            self.phase = Phase.DOUBLING

    def _throttled_in_vain(self, rate: float, now_s: float, left_s: float) -> None:
        """At a rate that was borne before."""
        answers, since_s = self.bucket.answers, now_s - self.bucket.dry_s
        if answers >= self._seldom and (self._borne_with or since_s >= SELDOM_S):
            self._in_vain = self._vain_answers = 0
            return
        if not self._in_vain:
            self._borne_before = rate
        self._in_vain += 1
        self._vain_answers += answers
        if self.spacing.throttled(per_s=rate):
            return
        if self._in_vain >= self._stubborn:
            self._go_deaf(now_s)
        else:
            borne = MARGIN * self.bucket.measured(left_s)
            if self._in_vain == 1 and borne >= rate / 2:
                borne = STEP_DOWN * rate  # a busy machine may have asked for less than was borne
            self._lower(rate, borne, now_s)

    @property
    def _seldom(self) -> int:
        """Answers between two 429s that are borne with."""
        return self._borne_with or (SELDOM_STRICT if self.spacing.is_strict else SELDOM)

    def _found(self, rate: float, now_s: float, left_s: float) -> None:
        """The limit, below a rate that grows."""
        borne = MARGIN * self.bucket.measured(left_s)
        if self.phase is Phase.DOUBLING:
            self.spacing.is_strict = self.bucket.burst <= SINGLE
            if borne >= rate / 2:
                self.held = borne
            self._climb(max(borne, rate / 2), rate * (BEYOND if self.spacing.is_strict else 1.0))
            return
        if self.spacing.is_strict:
            borne = max(borne, STEP_DOWN_STRICT * rate)
        if self.phase is Phase.PROBING:
            borne = max(borne, self.held or 0.0)
        self._lower(rate, borne, now_s)

    def _lower(self, rate: float, borne: float, now_s: float) -> None:
        floor = min(self.bucket.lately(now_s) / 2, rate)
        if borne < rate / 2:
            self._climb(max(rate / 2, floor), max(rate, self.held or 0.0))
        else:
            self._hold(now_s, max(min(borne, STEP_DOWN * rate), floor))

    def _deaf_to_another(self, now_s: float) -> None:
        """Where it was the rate after all, what was held is held again, and 429s that come no more often than
        they did at any rate do not lower it."""
        self._deaf_to += 1
        share = self._in_vain / (self._in_vain + self._vain_answers)
        if self._deaf_to >= SURE and self._deaf_to > MORE * share * (self._deaf_to + self.bucket.answers):
            self._borne_with = max(1, self._vain_answers // self._in_vain // 2)
            self._stubborn *= STUBBORN
            self._in_vain = self._vain_answers = 0
            self._hold(now_s, self._borne_before)
            self._anew(now_s)

    def _go_deaf(self, now_s: float) -> None:
        self._deaf_to = 0
        self.rate = self.held = None
        self.phase = Phase.DEAF
        self._phase_ends_s = now_s + self._deaf_s
        self._deaf_s = min(self._deaf_s * 2, MAX_DEAF_S)
        self._hold_s = HOLD_S

    def _climb(self, rate: float, ceiling: float) -> None:
        self.rate = rate
        self._ceiling = ceiling
        self._climb_per_s = (ceiling - max(rate, ceiling / 2)) / CLIMB_S
        self.phase = Phase.CLIMBING

    def _hold(self, now_s: float, rate: float) -> None:
        if self.phase is not Phase.PROBING or rate > BETTER * (self.held or rate):
            self._hold_s = HOLD_S
        self._held_cleanly, self._unsure, self._doubted_share = True, 0, inf
        self.rate = self.held = rate
        self.phase = Phase.HOLDING
        self._phase_ends_s = now_s + min(max(self._hold_s, self._seldom / rate), MAX_HOLD_S)
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
        if now_s - self.bucket.dry_s >= CLIMB_S:
            self._in_vain = self._vain_answers = 0
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

    def answered(self, left_s: float, now_s: float, /) -> None:
        self._rate.answered(now_s, left_s=left_s)

    def paused(self, wait_s: float, /) -> None:
        self._rate.doubt.paused(wait_s)

    def throttled(self, left_s: float, now_s: float, /) -> None:
        self._rate.throttled(now_s, left_s=left_s)
