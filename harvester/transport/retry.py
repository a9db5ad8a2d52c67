"""The outermost layer: tries again what is worth another try, a bounded number of times, with a bounded
appetite.

Counted as an attempt of the page is every failure but those that are nobody's fault:

    =====================================================  ================================================
    the server asked for a pause (Retry-After)             no attempt, the gate holds everybody back
    nobody answers                                         no attempt, the gate knocks for `max_outage_s`
    throttled without a word while others fared no better  no attempt, likewise
    everything else, a bad page included                   an attempt
    a redirect, a 404 and their kin before any good page   an attempt of few: the source is the wrong one
    =====================================================  ================================================

503s that name no pause, beside good answers, may be as many as chance explains before they are too many.
A page that alone is throttled for ever while others come through ends after the same `max_outage_s`, if it
was tried often enough in that time.
"""

import random
from dataclasses import dataclass
from math import ceil, log
from typing import Final, Generic

from harvester.errors import Astray, ConnectFailed, Throttled, TransientError
from harvester.events import Emit, RequestFailed
from harvester.transport.backoff import HICCUP_BASE_S, full_jitter
from harvester.transport.budget import Budget
from harvester.transport.clock import Clock
from harvester.transport.gate import OutageOutlived
from harvester.transport.layer import A, Layer, Q

UNHEARD_OF: Final = 3
"""Attempts where nothing but redirects, 404s and the like ever came: enough for one that strays, and a run
with a wrong `base_url` ends in seconds."""

UNLUCKY: Final = 1e-6
MAX_UNLUCKY: Final = 4
"""Times the attempts of a page."""
_LATELY: Final = 1 / 64
"""Weight of the last answer in the share of 503s that name no pause."""


@dataclass(slots=True)
class Patience:
    """What one page has been through."""

    max_attempts: int
    max_outage_s: float
    _good_before: int
    """Answers that all pages had when this one was last asked for."""
    attempts: int = 0
    """Failures that count."""
    tries: int = 0
    _throttled_since_s: float | None = None
    _longest_asked_s: float = 0.0

    def is_over(self, error: TransientError, now_s: float, *, good: int, alone: bool, chance: float) -> bool:
        """Takes note of a failure. `good`: answers that all pages had so far; `alone`: no other page is
        under way; `chance`: that an answer is a 503 which names no pause."""
        self.tries += 1
        others_fared_better = good != self._good_before
        self._good_before = good
        if isinstance(error, ConnectFailed):
            return False
        if isinstance(error, Throttled):
            if self._throttled_since_s is None:
                self._throttled_since_s = now_s
            self._longest_asked_s = max(self._longest_asked_s, error.retry_after_s or 0.0)
            patience_s = self.max_outage_s + self._longest_asked_s
            if self.tries >= self.max_attempts and now_s - self._throttled_since_s >= patience_s:
                return True
            if error.retry_after_s is not None or not (others_fared_better or alone):
                return False
        self.attempts += 1
        if isinstance(error, Throttled) and error.may_be_chance:
            return self.attempts >= bearable(chance, self.max_attempts)
        if isinstance(error, Astray) and not good:
            return self.attempts >= min(UNHEARD_OF, self.max_attempts)
        return self.attempts >= self.max_attempts


def bearable(chance: float, max_attempts: int) -> int:
    """Failures in a row by which a page is no more unlucky than one in a million may be."""
    by_chance = log(UNLUCKY) / log(min(max(chance, UNLUCKY), 0.99))
    return max(max_attempts, min(ceil(by_chance), max_attempts * MAX_UNLUCKY))


class Retry(Generic[Q, A]):
    def __init__(
        self,
        inner: Layer[Q, A],
        *,
        max_attempts: int,
        max_outage_s: float,
        budget: Budget,
        emit: Emit,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._inner = inner
        self._max_attempts = max_attempts
        self._max_outage_s = max_outage_s
        self._emit = emit
        self._clock = clock
        self._rng = rng
        self._budget = budget
        self._good = 0
        self._chance = 0.0
        self._under_way = 0

    async def send(self, ask: Q) -> A:
        """Raises what is not transient at once, and the last TransientError when patience is over."""
        patience = None
        good_before = self._good
        self._under_way += 1
        try:
            while True:
                try:
                    answer = await self._inner.send(ask)
                except OutageOutlived:
                    raise
                except TransientError as error:
                    if patience is None:
                        patience = Patience(self._max_attempts, self._max_outage_s, good_before)
                    wait_s = self._wait_s(patience, error)
                    if wait_s is None:
                        raise
                    self._emit(
                        RequestFailed(
                            error=type(error).__name__,
                            detail=str(error),
                            attempt=patience.tries,
                            wait_s=wait_s,
                        )
                    )
                else:
                    self._good += 1
                    self._chance *= 1 - _LATELY
                    self._budget.answered()
                    return answer
                await self._clock.sleep(wait_s)
        finally:
            self._under_way -= 1

    def _wait_s(self, patience: Patience, error: TransientError) -> float | None:
        now_s = self._clock.monotonic()
        attempts = patience.attempts
        is_chance = isinstance(error, Throttled) and error.may_be_chance
        self._chance += _LATELY * (is_chance - self._chance)
        alone = self._under_way == 1
        if patience.is_over(error, now_s, good=self._good, alone=alone, chance=self._chance):
            return None
        if is_chance:
            # Where the gate has its doubts and lets the others go on, this one waits alone: little at first,
            # and all its attempts together as long as ever.
            wait_s = full_jitter(max(1, 2 * patience.attempts - 1), self._rng, base_s=HICCUP_BASE_S)
        elif patience.attempts == attempts:
            return 0.0  # the gate knows how long
        else:
            wait_s = full_jitter(patience.attempts, self._rng)
        return max(wait_s, self._budget.draw(now_s)) if patience.attempts > attempts else wait_s
