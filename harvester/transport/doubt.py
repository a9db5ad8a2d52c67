"""Whether 503s that name no pause are an answer to how fast we ask. A server's own limit answers with them,
and so does a machine of many that is ill; the first wants fewer requests, the second does not mind.

It is found out by trying. From the first of them on the answers are counted; after `ENOUGH` of them the
rate goes down to half of what came through well, for as many answers. Where the 503s come as often as
before, they are unrelated: the rate is as before, and there is no doubt again until they come twice as
often. Where they come less than half as often, they are related, and what came through well is what the
server bears. Pure; seconds of one monotonic clock.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

ENOUGH: Final = 12
"""503s before the trial; it ends at half of them. A server that has nothing against the rate shows as few
as that among as many answers once in fifty trials."""
MAX_ENOUGH: Final = 48
"""Who was found unrelated needs more to be doubted again: chance brings a dozen together now and then."""
SELDOM: Final = 0.01
"""Less often than this they are not worth a trial."""
BELIEVED_S: Final = 60.0
MAX_BELIEVED_S: Final = 3600.0
"""How long a verdict holds; twice as long each time."""


class Verdict(Enum):
    RELATED = "related"
    UNRELATED = "unrelated"


@dataclass(slots=True)
class Doubt:
    slow_per_s: float | None = None
    """The rate while it is tried."""
    borne_per_s: float = 0.0
    """What came through well before that."""
    _since_s: float = 0.0
    _idle_s: float = 0.0
    """Since then, in pauses."""
    _answers: int = 0
    _refusals: int = 0
    _needed: int = 0
    share: float = 0.0
    """Of 503s among the answers before it."""
    _believed_share: float = 0.0
    _believed_until_s: float = -inf
    _believe_s: float = BELIEVED_S
    _enough: int = ENOUGH

    def answered(self, now_s: float) -> Verdict | None:
        self._answers += bool(self._refusals or self.slow_per_s)
        if self.slow_per_s is not None and self._answers + self._refusals >= self._needed:
            return self._decided(Verdict.RELATED, now_s)
        return None

    def refused(self, left_s: float, now_s: float) -> Verdict | None:
        if self.slow_per_s is not None:
            if left_s < self._since_s:  # it left before the trial
                return None
            self._refusals += 1
            return self._decided(Verdict.UNRELATED, now_s) if self._refusals >= self._enough // 2 else None
        seldom = SELDOM
        if now_s < self._believed_until_s:
            seldom = max(seldom, 2 * self._believed_share)
        if not self._refusals or self._refusals < seldom * (self._answers + self._refusals):
            self._begin(now_s)
        self._refusals += 1
        if self._refusals >= self._enough:
            self._needed = self._answers + self._refusals
            self.share = self._refusals / self._needed
            self.borne_per_s = max(self._answers, 1) / max(now_s - self._since_s - self._idle_s, 0.001)
            self.slow_per_s = self.borne_per_s / 2
            self._begin(now_s)
        return None

    def paused(self, wait_s: float) -> None:
        """Everybody waits, since there were too many of them: half of what was seen may be of an outage."""
        self._refusals //= 2
        self._idle_s += wait_s

    def _begin(self, now_s: float) -> None:
        self._since_s, self._idle_s = now_s, 0.0
        self._answers = self._refusals = 0

    def _decided(self, verdict: Verdict, now_s: float) -> Verdict:
        self.slow_per_s = None
        self._answers = self._refusals = 0
        if verdict is Verdict.UNRELATED:
            self._believed_share = self.share
            self._believed_until_s = now_s + self._believe_s
            self._believe_s = min(2 * self._believe_s, MAX_BELIEVED_S)
            self._enough = min(2 * self._enough, MAX_ENOUGH)
        else:
            self._believed_until_s = -inf
        return verdict
