"""How close a request may follow those before it, so that the server's bucket surely holds a token for it.

Requests that leave evenly do not arrive evenly: one that was held up on its way, by a busy loop, a new
connection or a busy server, comes close before the next, and a bucket of one counts a millisecond as too
early. Where it arrived is not known, but an answer that took longer than the quickest ones tells by how
much it may have been late, and one that is still missing how late it is by now. So each request is taken to
have arrived as late as that, and the next one leaves when a bucket filled from then on has a token again.

An answer may also take long for reasons that have nothing to do with its arrival, a big page first of all.
So what lateness may cost is bounded: each request brings `SHARE` of its distance from the next, and no more
than has been saved up is spent. Pure; seconds of one monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final

SHARE: Final = 0.1
"""Where every answer takes another time, a tenth of the rate goes to a server that counts strictly, little to
others: they have a token to spare."""
MAX_SHARE: Final = 0.4
"""Twice as much after each 429 that a busy machine may have drawn: the pause that it costs is longer."""
MAX_SAVED_S: Final = 0.25
"""What a busy machine may lose at a time, and then all is well again."""
FORGETS: Final = 0.01
"""The quickest answer counts a hundredth less with each that is slower: routes and servers change."""
LEAST_S: Final = 0.0002
"""By which strict distances are kept wider at least: no two clocks agree to the last digit."""
USUAL: Final = 0.02
"""How much one answer says about how late they usually are, by which a request may still come too early."""
SOON: Final = 25
"""Answers. A 429 before so many, at a rate that should be borne, means that the bucket holds a single
token: where it holds two, requests seldom come that close."""
FAST_PER_S: Final = 100.0
"""Beyond it no machine of the usual kind keeps strict distances, and trying costs more than a lower rate."""
_KEPT: Final = 16


@dataclass(slots=True)
class _Left:
    left_s: float
    late_s: float | None = None
    """None: not back yet."""


@dataclass(slots=True)
class Spacing:
    is_strict: bool = False
    """The bucket is taken to hold a single token, else two at least."""
    spare: float = 1.0
    """Tokens that may be used up beside the one for each request, where the bucket is not strict."""
    _answers: int = 0
    """Since the last 429."""
    _quickest_s: float = inf
    _usual_s: float = 0.0
    _share: float = SHARE
    _saved_s: float = 0.0
    _held_since_s: float | None = None
    """Nobody leaves from then on for no other reason than lateness."""
    _recent: deque[_Left] = field(default_factory=deque)
    _evenly_s: float = -inf
    _lately_s: float = -inf
    """When the bucket would be full again after all that is not in `_recent` any more."""

    def wait_s(self, now_s: float, *, per_s: float) -> float:
        """Until the next may leave, as far as is known now; 0 where it may."""
        each_s = 1 / per_s
        if self.is_strict and per_s <= FAST_PER_S:
            spare_s = -min(max(self._usual_s, LEAST_S), each_s / 8)
        else:
            spare_s = self.spare * each_s - min(self._usual_s, each_s / 3)
        even_s, late_s = self._evenly_s, self._lately_s
        for one in self._recent:
            even_s = max(even_s, one.left_s) + each_s
        for arrived_s in sorted(self._arrived_s(one, now_s) for one in self._recent):
            late_s = max(late_s, arrived_s) + each_s
        even_s, late_s = even_s - spare_s, late_s - spare_s
        if late_s > max(even_s, now_s):
            if self._held_since_s is None:
                self._held_since_s = max(even_s, now_s, self._recent[-1].left_s + each_s)
            late_s = max(even_s, min(late_s, self._held_since_s + self._saved_s))
        return max(0.0, late_s - now_s)

    def left(self, now_s: float, *, per_s: float) -> None:
        if self._held_since_s is not None:
            self._saved_s -= max(0.0, now_s - self._held_since_s)
            self._held_since_s = None
        self._saved_s = min(MAX_SAVED_S, max(0.0, self._saved_s) + self._share / per_s)
        if len(self._recent) == _KEPT:
            first = self._recent.popleft()
            self._evenly_s = max(self._evenly_s, first.left_s) + 1 / per_s
            self._lately_s = max(self._lately_s, self._arrived_s(first, now_s)) + 1 / per_s
        self._recent.append(_Left(now_s))

    def came_back(self, left_s: float, now_s: float) -> None:
        """With an answer, an error or nothing at all."""
        took_s = now_s - left_s
        if took_s < self._quickest_s:
            self._quickest_s = took_s
        else:
            self._quickest_s += FORGETS * (took_s - self._quickest_s)
        for one in self._recent:
            if one.left_s == left_s and one.late_s is None:
                one.late_s = max(0.0, took_s - self._quickest_s)
                self._usual_s += USUAL * (one.late_s - self._usual_s)
                return

    def answered(self) -> None:
        self._answers += 1

    def throttled(self, *, per_s: float) -> bool:
        """For a 429 at a rate that should be borne; whether keeping strict distances from now on is likely
        to cure it."""
        self._share = min(MAX_SHARE, 2 * self._share)
        soon, self._answers = 0 < self._answers < SOON, 0
        if self.is_strict or not soon or per_s > FAST_PER_S:
            return False
        self.is_strict = True
        return True

    def _arrived_s(self, one: _Left, now_s: float) -> float:
        late_s = now_s - one.left_s - self._quickest_s if one.late_s is None else one.late_s
        return one.left_s + max(0.0, late_s)
