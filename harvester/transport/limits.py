"""How many requests are under way, and how far apart they leave.

`Concurrency` is a layer. A pace is none: it gives the gate its turns, because a request whose turn has come
may find that everybody was asked to wait in the meantime. Two paces: `Steady` here for a rate that the job
names, `Learned` in its own file for one that nobody told.
"""

from typing import Final, Generic, Protocol

import anyio
from aiolimiter import AsyncLimiter

from harvester.transport.layer import A, Layer, Q

LATENESS_S: Final = 0.002
"""What timers and a busy loop lose is made up as far as this: without it 200 requests a second become 182
(uvloop counts in milliseconds). At 50 a second two requests come a tenth closer at worst, and servers whose
bucket holds two do not notice."""
SLOWER: Final = 0.95
MAX_STEPS_DOWN: Final = 8
"""To 0.95^8 = 66 % of the rate: a server with a bucket of one counts each millisecond of jitter as too
early."""
STEP_UP_AFTER_S: Final = 60.0
"""Without a 429 for so long, a step back up: one more 429 a minute is the price where it was the limit."""


class Concurrency(Generic[Q, A]):
    """At most so many at a time; those who wait come in the order in which they asked."""

    def __init__(self, inner: Layer[Q, A], limit: int) -> None:
        self._inner = inner
        self._slots = anyio.Semaphore(limit, fast_acquire=True)

    async def send(self, ask: Q) -> A:
        async with self._slots:
            return await self._inner.send(ask)


class Pace(Protocol):
    @property
    def learned_rate(self) -> float | None:
        """Requests per second that the server was found to bear; None where that was not learned."""
        ...

    async def turn(self) -> None:
        """Comes back when the next request may leave."""
        ...

    def answered(self, now_s: float, /) -> None: ...

    def throttled(self, now_s: float, /) -> None: ...


class Steady:
    """The rate that the job names, evenly spaced: servers that count strictly answer a burst with 429s.

    One who throttles all the same gets a little less, and no two requests closer than that."""

    def __init__(self, requests_per_second: float) -> None:
        self._rate = requests_per_second
        self._steps_down = 0
        self._step_up_s = float("inf")
        self._limiter = AsyncLimiter(
            1 + requests_per_second * LATENESS_S, 1 / requests_per_second + LATENESS_S
        )
        self._is_fresh = False
        """Whether the limiter is new and full: what left before it came counts for it too."""
        self._queue = anyio.Lock(fast_acquire=True)

    @property
    def learned_rate(self) -> None:
        return None

    async def turn(self) -> None:
        async with self._queue:
            # One waits at the limiter: more would leave an old one beside those who leave the new one.
            if self._is_fresh:
                self._is_fresh = False
                await self._limiter.acquire()
            await self._limiter.acquire()

    def answered(self, now_s: float, /) -> None:
        if now_s >= self._step_up_s:
            self._step(-1, now_s)

    def throttled(self, now_s: float, /) -> None:
        self._step(+1, now_s)

    def _step(self, by: int, now_s: float) -> None:
        self._steps_down = min(max(self._steps_down + by, 0), MAX_STEPS_DOWN)
        self._step_up_s = now_s + STEP_UP_AFTER_S if self._steps_down else float("inf")
        self._limiter = AsyncLimiter(1, 1 / (self._rate * SLOWER**self._steps_down))
        self._is_fresh = True
