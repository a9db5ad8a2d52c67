"""How often all pages together may be tried again.

A retry costs 1, a good answer brings `RETRIES_PER_ANSWER`, each second brings `RETRIES_PER_S`, and no more
than `RESERVE` are saved up. Where it is empty a retry waits for its share; it is never given up for that. So
a server that fails one answer in three gets all its retries at once, and one that fails them all is asked
again at a trickle, however many tasks there are. Pure; seconds of one monotonic clock.
"""

from dataclasses import dataclass
from typing import Final

RETRIES_PER_ANSWER: Final = 0.5
RETRIES_PER_S: Final = 10.0
RESERVE: Final = 50.0


@dataclass(slots=True)
class Budget:
    """The token bucket. It may be overdrawn: who draws waits for its own share."""

    tokens: float = RESERVE
    _as_of_s: float = 0.0

    def answered(self) -> None:
        self.tokens = min(RESERVE, self.tokens + RETRIES_PER_ANSWER)

    def draw(self, now_s: float) -> float:
        """Takes one retry; returns the seconds to wait for it."""
        if now_s > self._as_of_s:
            self.tokens = min(RESERVE, self.tokens + (now_s - self._as_of_s) * RETRIES_PER_S)
            self._as_of_s = now_s
        self.tokens -= 1
        return max(0.0, -self.tokens / RETRIES_PER_S)
