"""What the server's bucket is, from the answers and the 429s: how much it holds and how fast it fills.

A bucket of b tokens, filled with R each second, lets through at most b + R·t in any t seconds, and exactly
that since it was last full where it has run dry. So of all stretches that end with a 429 the one with the
most answers for its length shows R where b is known, and b where R is. The first 429 follows a burst, which
shows b; those after it follow a rate that grew slowly, which shows R.

Requests count from when they left: how long their answers take says nothing about the bucket. Pure; seconds
of one monotonic clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, inf
from typing import Final

MAX_BURST: Final = 64
"""A larger burst than this is not believed: it was no bucket, but a server that began to be busy."""
LATELY_S: Final = 10.0
"""What was borne counts for about as long; pauses within it included."""
TOGETHER_S: Final = 0.001
"""What left so soon after a request may have come before it."""
_STRETCH: Final = 1024
_SHORTEST_STRETCH_S: Final = 0.2
"""What a busy machine sends at once would look like a rate."""


@dataclass(slots=True)
class Bucket:
    burst: float = 1.0
    """Tokens, as far as is known."""
    answers: int = 0
    """Since the last 429; `_recent` holds when the last of them had left."""
    dry_s: float = -inf
    """The last 429."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_STRETCH))
    _first: list[float] = field(default_factory=list)
    """When the requests had left that were answered before the first 429."""
    _first_dry_s: float | None = None
    """When the one had left that was not."""
    _weight: float = 0.0
    """Answers, each fading within `LATELY_S`, as of `_weighed_s`."""
    _weighed_s: float = 0.0

    def answered(self, left_s: float, now_s: float) -> None:
        self.answers += 1
        self._weight = self._weight_at(now_s) + 1
        self._weighed_s = now_s
        self._recent.append(left_s)
        if self._first_dry_s is not None and left_s <= self._first_dry_s + TOGETHER_S:
            self._first.append(left_s)  # its answer took longer than the 429

    def burst_ended(self, left_s: float) -> None:
        """With the 429 that is the first of all."""
        self._first, self._first_dry_s = list(self._recent), left_s
        self.burst = self._burst_at(0.0)

    def ran_dry(self, now_s: float) -> None:
        """For each 429, when what it shows has been asked for."""
        self.answers, self.dry_s = 0, now_s
        self._recent.clear()

    def measured(self, left_s: float) -> float:
        """What was borne until the one that left then found it dry. Afterwards the burst is known better."""
        if self._first_dry_s is not None:
            self.burst = self._burst_at(self.borne(left_s))
        return self.borne(left_s)

    def borne(self, until_s: float) -> float:
        """Requests per second that the bucket was filled with at least."""
        before = [at_s for at_s in self._recent if at_s <= until_s + TOGETHER_S]
        best = len(before) / max(until_s - self.dry_s, _SHORTEST_STRETCH_S)
        for count, age_s in _counted(before, until_s):
            if age_s >= _SHORTEST_STRETCH_S:
                best = max(best, (count - self.burst) / age_s)
        return best

    def lately(self, now_s: float) -> float:
        """Requests per second that were borne on average, bursts and pauses included."""
        return self._weight_at(now_s) / LATELY_S

    def _burst_at(self, per_s: float) -> float:
        counted = _counted(self._first, self._first_dry_s or 0.0)
        return min(max([1.0, *(count - per_s * age_s for count, age_s in counted)]), MAX_BURST)

    def _weight_at(self, now_s: float) -> float:
        return self._weight * exp((self._weighed_s - now_s) / LATELY_S)


def _counted(left: Iterable[float], until_s: float) -> Iterable[tuple[int, float]]:
    """How many left within each age, the youngest first."""
    return enumerate(sorted(max(0.0, until_s - at_s) for at_s in left), start=1)
