"""How much of what a busy machine lost may be made up for, where a job names the rate and nobody the burst.

A request that leaves late may be followed by the next one on the schedule as far as the server's bucket holds
tokens; how many it holds is not known. A little is made up always. More is tried where much is lost, twice
as much each time, and a 429 shows that it was too much. A pause is the price, so nothing is tried for less.
Pure.
"""

from dataclasses import dataclass
from typing import Final

LATENESS_S: Final = 0.002
"""What timers and a busy loop lose is made up as far as this: without it 200 requests a second become 182
(uvloop counts in milliseconds). At 50 a second two requests come a tenth closer at worst, and servers whose
bucket holds two do not notice."""
MUCH: Final = 0.03
"""Of the permitted requests."""
TURNS: Final = 300
"""By which that is judged."""
MOST: Final = 8.0
"""Tokens: 40 ms at 200 a second. A machine that loses more at a time is not up to that rate."""
LATEST_S: Final = 0.25
"""Longer ones are no lateness but a pause, or a machine that slept."""


@dataclass(slots=True)
class Arrears:
    tokens: float = 0.0
    """That may be made up, where that is more than `LATENESS_S`."""
    _most: float = MOST
    _turns: int = 0
    _lost: float = 0.0

    def made_up_s(self, per_s: float) -> float:
        return max(LATENESS_S, self.tokens / per_s)

    def left(self, late_s: float, *, per_s: float) -> bool:
        """A request, so much later than it might have; whether more may be made up from now on."""
        self._turns += 1
        self._lost += max(0.0, min(late_s, LATEST_S) - self.made_up_s(per_s)) * per_s
        if self._turns < TURNS:
            return False
        lost, self._turns, self._lost = self._lost, 0, 0.0
        more = min(max(2 * self.tokens, 1.0), self._most)
        if lost < MUCH * TURNS or more <= self.tokens:
            return False
        self.tokens = more
        return True

    def throttled(self) -> bool:
        """Whether that may be what drew the 429; then less is made up from now on, and never more again."""
        self._turns, self._lost = 0, 0.0
        if not self.tokens:
            return False
        self._most = self.tokens / 2 if self.tokens > 1 else 0.0
        self.tokens = self._most
        return True
