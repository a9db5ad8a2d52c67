"""How many requests are under way: as many as the job allows, unless the server shows that fewer do as well.

A server with room for k requests lets the others queue, and then each takes the longer the more there are,
or it refuses them. Both are found by what came of a request beside how many were under way when it left, its
level:

    ==============  ====================================  ===================================================
    phase           the limit                             leads to
    ==============  ====================================  ===================================================
    RESTING         n                                     n has brought enough answers: LESS
    LESS            n/2                                   as many answers later: BACK
    BACK            n                                     took as long with n/2: RESTING, and n grows by a
                                                          quarter where the job allows it; took less in
                                                          proportion: RESTING with what the server has room
                                                          for and a quarter more
    ==============  ====================================  ===================================================

So neither answers that take all sorts of times (the more they differ, the more of them are asked) nor a
server that gets slower meanwhile (n is measured before and after) narrow it: only answers that take
less time with fewer under way. Each trial that finds nothing makes the next one come later.

A refusal narrows it where most of those that left at its level or above were refused lately: to one less than
that. From there it doubles each round trip, as at the start; where that same level is refused again it stays
for longer each time and then grows by one. Refusals that come at any level are the rate's business.

Pure; `Concurrency` keeps the limit, the gate tells what happened.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from math import exp, hypot, log, sqrt
from statistics import fmean, pvariance
from typing import Final

ENOUGH: Final = 24
"""Answers whose times make a mean, or one and a half for each that is under way."""
MOST: Final = 64
"""As many where the times differ a lot."""
SHARP: Final = 0.1
"""Relative error of a mean that needs no more answers."""
SUSPECT: Final = 1.25
"""Times the mean of what answers took with fewer under way, at the start or in the last trial. Where they
take no longer than that, a trial would most likely find nothing."""
UNTRIED: Final = 2
"""Trials in a row that are left out for that: what the start was measured by may have been the connecting."""
IN_VAIN: Final = 0.8
"""Where the time grows with this power of the limit or more, a limit twice as high brought a seventh more
answers, or less."""
SURE: Final = 2.0
"""Standard errors between what was found and no growth at all."""
ROOM: Final = 1.25
"""Of what the server was found to have room for: between two answers it must not stand idle."""
FIRST_REST: Final = 128
"""Answers before the first trial."""
LONGER: Final = 4
MAX_REST: Final = 16_384
"""A trial costs some two round trips: one in a thousand."""
LATELY: Final = 64
"""Answers and refusals by which a level is judged."""
BY_CHANCE: Final = 6
"""503s that name no pause, three of four at a level or above it: at random, one answer in five, they come
together so once in some thousand times."""
MAX_PATIENCE: Final = 1024
"""Rounds after which a level that was refused again and again is tried once more."""


class Phase(Enum):
    RESTING = "resting"
    LESS = "less"
    BACK = "back"


@dataclass(slots=True)
class Width:
    most: int
    """What the job allows."""
    limit: int = 0
    """For now; the first is `most`."""
    phase: Phase = Phase.RESTING
    _under_way: int = 0
    _full: int = 0
    """The limit that is on trial."""
    _times_s: deque[float] = field(default_factory=deque)
    """Of those that left with the limit under way."""
    _before: "Mean | None" = None
    _less: "Mean | None" = None
    _fewer_s: list[float] = field(default_factory=list)
    """What answers took at the start, with a quarter of the limit under way or less."""
    _untried: int = 0
    _rest: int = FIRST_REST
    _due: int = FIRST_REST
    """Answers before the next trial, of which `_rested` have come."""
    _rested: int = 0
    _settled: int | None = None
    """The limit that was last tried and found to be worth it."""
    _is_settled: bool = False
    """The present one is: the next trial that says so lets it grow."""
    _lately: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=LATELY))
    """Level, and whether it was served."""
    _patience: int = 1
    _refused_level: int | None = None
    _served: int = 0
    """At the limit, since that was narrowed by a refusal or grew from there."""

    def __post_init__(self) -> None:
        self.limit = min(self.limit or self.most, self.most)
        self._begin(Phase.RESTING, self.limit)

    @classmethod
    def remembered(cls, most: int, limit: int) -> "Width":
        """Begins with what an earlier run found, as if just found."""
        return cls(most=most, limit=limit, _is_settled=True, _settled=limit)

    @property
    def worth_remembering(self) -> int | None:
        """None where it is no less than the job allows."""
        full = self.limit if self.phase is Phase.RESTING else self._full
        return full if full < self.most else None

    @property
    def has_room(self) -> bool:
        return self._under_way < self.limit

    def left(self) -> int:
        """The level: how many are under way now, this one included."""
        self._under_way += 1
        return self._under_way

    def came_back(self) -> None:
        """For each that left, whatever came of it."""
        self._under_way -= 1

    def served(self, level: int, took_s: float) -> None:
        self._lately.append((level, True))
        if level * 4 <= self.most and len(self._fewer_s) < ENOUGH:
            self._fewer_s.append(took_s)
        if not self.limit * 4 <= level * 5 <= self.limit * 5:
            return  # the limit kept nobody back, or was another when it left
        if self._refused_level is not None and self.limit >= self._refused_level - 1 and self._is_grown():
            return
        self._rested += 1
        self._times_s.append(took_s)
        if self.phase is Phase.RESTING and self._rested < self._due:
            while len(self._times_s) > MOST:
                self._times_s.popleft()
            return
        count = len(self._times_s)
        if count < max(ENOUGH, self.limit * 3 // 2):
            return
        mean = Mean.of(self._times_s)
        if mean.error > SHARP and count < MOST:
            return
        if self.phase is Phase.RESTING and (self.limit == 1 or not self._is_suspect(mean)):
            self._is_worth_it()
        elif self.phase is Phase.RESTING:
            self._untried = 0
            self._before, self._full = mean, self.limit
            self._begin(Phase.LESS, self.limit // 2)
        elif self.phase is Phase.LESS:
            self._less = mean
            self._begin(Phase.BACK, self._full)
        elif self._before is not None and self._less is not None:
            self._judge(self._before, self._less, mean)

    def refused(self, level: int, *, may_be_chance: bool = False) -> bool:
        """For the first refusal of several; whether it is known to come of how many are under way, and of
        nothing else."""
        self._lately.append((level, False))
        if level > self.limit:  # it left before that was narrowed
            return False
        outcomes = [served for at, served in self._lately if at >= level]
        refusals = outcomes.count(False)
        if may_be_chance and (refusals < BY_CHANCE or refusals * 4 <= len(outcomes) * 3):
            return False
        others = [served for at, served in self._lately if at < level]
        is_level = refusals * len(others) >= 2 * others.count(False) * len(outcomes)
        if level <= 1 or refusals * 2 <= len(outcomes) or not is_level:
            return False
        again = self._refused_level is not None and level <= self._refused_level + 1
        self._patience = min(self._patience * LONGER, MAX_PATIENCE) if again else 1
        self._refused_level = level
        self._served = 0
        self._begin(Phase.RESTING, min(self.limit, level - 1))
        return again

    def _is_grown(self) -> bool:
        self._served += 1
        if self._served < self._patience * self.limit:
            return False
        self._served = 0
        if self._refused_level is not None and self.limit >= self._refused_level:
            self._patience = max(1, self._patience // LONGER)  # it bears what it refused before
        limit = min(self.limit * 2 if self._patience == 1 else self.limit + 1, self.most)
        if limit == self.limit:
            self._refused_level = None
            return False
        self._begin(Phase.RESTING, limit)
        return True

    def _is_suspect(self, now: "Mean") -> bool:
        self._untried += 1
        fewer_s = self._less.s if self._less is not None else fmean(self._fewer_s or [0.0])
        return now.s >= SUSPECT * fewer_s or self._untried > UNTRIED

    def _judge(self, before: "Mean", less: "Mean", after: "Mean") -> None:
        full, growth = self._full, log(self._full / (self._full // 2))
        longer = log((before.s + after.s) / 2 / less.s)
        error = hypot(before.error / 2, after.error / 2, less.error)
        is_both = log(min(before.s, after.s) / less.s) >= IN_VAIN / 2 * growth
        if longer >= IN_VAIN * growth and longer >= SURE * error and is_both:
            self._is_settled = False
            self._due = 0  # half of what is left may be too many as well
            room = ROOM * full / exp(longer - error)
            self._begin(Phase.RESTING, max(1, min(full - 1, round(room))))
        else:
            self.limit = full
            self._is_worth_it()

    def _is_worth_it(self) -> None:
        most = self.most if self._refused_level is None else max(self.limit, self._refused_level - 1)
        limit = min(self.limit + max(1, self.limit // 4), most)
        if self._is_settled and limit > self.limit:
            self._due = 0
            self._begin(Phase.RESTING, limit)
            return
        self._rest = min(self._rest * LONGER, MAX_REST) if self._settled == self.limit else FIRST_REST
        self._due = self._rest
        self._is_settled, self._settled = True, self.limit
        self._begin(Phase.RESTING, self.limit)

    def _begin(self, phase: Phase, limit: int) -> None:
        self.phase = phase
        self.limit = limit
        self._times_s.clear()
        self._rested = 0


@dataclass(frozen=True, slots=True)
class Mean:
    s: float
    error: float
    """Relative."""

    @classmethod
    def of(cls, times_s: Collection[float]) -> "Mean":
        mean_s = max(fmean(times_s), 1e-6)
        return cls(mean_s, sqrt(pvariance(times_s) / len(times_s)) / mean_s)
