"""How many requests are under way, and how far apart they leave.

`Concurrency` is a layer. A pace is none: it gives the gate its turns, because a request whose turn has come
may find that everybody was asked to wait in the meantime. Two paces: `Steady` here for a rate that the job
names, `Learned` in its own file for one that nobody told.
"""

from typing import Final, Generic, Protocol

import anyio
from aiolimiter import AsyncLimiter

from harvester.transport.arrears import Arrears
from harvester.transport.clock import Clock
from harvester.transport.layer import A, Layer, Q
from harvester.transport.spacing import Spacing
from harvester.transport.width import Width

SLOWER: Final = 0.95
MAX_STEPS_DOWN: Final = 8
"""To 0.95^8 = 66 % of the rate, where the server allows less than the job says."""
ALONE_S: Final = 20.0
"""A single 429 in so long comes from a machine that was busy for a moment, and no lower rate prevents it."""
STEP_UP_AFTER_S: Final = 60.0
"""Without a 429 for so long, a step back up: one more 429 a minute is the price where it was the limit."""


class Concurrency(Generic[Q, A]):
    """At most so many at a time, and as many as the width says by now; those who wait come in the order in
    which they asked."""

    def __init__(self, inner: Layer[Q, A], width: Width) -> None:
        self._inner = inner
        self._width = width
        self._given = width.limit
        self._slots = anyio.Semaphore(width.limit, fast_acquire=True)

    async def send(self, ask: Q) -> A:
        await self._slots.acquire()
        try:
            return await self._inner.send(ask)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if self._given > self._width.limit:
            self._given -= 1
            return
        self._slots.release()
        for _ in range(self._width.limit - self._given):
            self._given += 1
            self._slots.release()


class Pace(Protocol):
    """What the gate asks for turns, and tells what became of the requests that had one."""

    @property
    def learned_rate(self) -> float | None:
        """Requests per second that the server was found to bear; None where that was not learned."""
        ...

    async def turn(self) -> None:
        """Comes back when the next request may leave."""
        ...

    def left(self, now_s: float, /) -> None:
        """Right after its turn. Where nobody leaves then, nothing is said, and the turn is lost."""
        ...

    def came_back(self, left_s: float, now_s: float, /) -> None:
        """What left then is not under way any more, whatever became of it."""
        ...

    def answered(self, left_s: float, now_s: float, /) -> None: ...

    def throttled(self, left_s: float, now_s: float, /) -> None:
        """The server asked everybody to wait."""
        ...

    def unsure(self, left_s: float, now_s: float, /) -> None:
        """An answer that may mean too many requests, or nothing of the kind."""
        ...

    def paused(self, wait_s: float, /) -> None:
        """Everybody waits so long from now on, for too many of those answers."""
        ...


class Steady:
    """The rate that the job names, evenly spaced: servers that count strictly answer a burst with 429s.

    One who throttles all the same gets strict distances first, then a little less."""

    def __init__(self, requests_per_second: float, clock: Clock) -> None:
        self._rate = requests_per_second
        self._clock = clock
        self._spacing = Spacing()
        self._arrears = Arrears()
        self._steps_down = 0
        self._step_up_s = float("inf")
        self._throttled_s = float("-inf")
        self._queue = anyio.Lock(fast_acquire=True)
        self._limiter = self._a_limiter()
        self._is_fresh = False
        """Whether the limiter is new and lets one through at once: what left before it came counts for it
        too."""
        self._left_s = float("-inf")
        self._asked_s = float("-inf")

    @property
    def learned_rate(self) -> None:
        return None

    async def turn(self) -> None:
        clock, spacing = self._clock, self._spacing
        asked_s = clock.monotonic()
        async with self._queue:
            # One waits at the limiter: more would leave an old one beside those who leave the new one.
            if self._is_fresh:
                await self._fill()
            await self._limiter.acquire()
            is_held = False
            while (wait_s := spacing.wait_s(clock.monotonic(), per_s=self._per_s)) > 0:
                is_held = True
                await clock.sleep(wait_s)
            self._asked_s = clock.monotonic() if is_held else asked_s  # late answers are no lateness of ours
            if is_held and not self._arrears.tokens:
                # It counted an earlier moment, and would let the next one follow too soon.
                self._limiter = self._a_limiter()
                await self._fill()

    def left(self, now_s: float, /) -> None:
        per_s = self._per_s
        self._spacing.left(now_s, per_s=per_s)
        due_s, self._left_s = self._left_s + 1 / per_s, now_s
        late_s = now_s - due_s if self._asked_s < due_s else 0.0
        if self._arrears.left(late_s, per_s=per_s):
            self._make_up()

    def came_back(self, left_s: float, now_s: float, /) -> None:
        self._spacing.came_back(left_s, now_s)

    def answered(self, left_s: float, now_s: float, /) -> None:
        self._spacing.answered()
        if now_s >= self._step_up_s:
            self._step(-1, now_s)

    def throttled(self, left_s: float, now_s: float, /) -> None:
        if self._arrears.throttled():
            self._make_up()
            return
        again = now_s - self._throttled_s < ALONE_S
        self._throttled_s = now_s
        if not self._spacing.throttled(per_s=self._per_s) and again:
            self._step(+1, now_s)

    def unsure(self, left_s: float, now_s: float, /) -> None:
        """Whoever names a rate is believed."""

    def paused(self, wait_s: float, /) -> None:
        pass

    @property
    def _per_s(self) -> float:
        return float(self._rate * SLOWER**self._steps_down)

    async def _fill(self) -> None:
        self._is_fresh = False
        await self._limiter.acquire(self._limiter.max_rate)

    def _step(self, by: int, now_s: float) -> None:
        self._steps_down = min(max(self._steps_down + by, 0), MAX_STEPS_DOWN)
        self._step_up_s = now_s + STEP_UP_AFTER_S if self._steps_down else float("inf")
        self._renew()

    def _make_up(self) -> None:
        self._spacing.spare = max(1.0, self._arrears.tokens)
        self._renew()

    def _renew(self) -> None:
        self._limiter = self._a_limiter()
        self._is_fresh = True

    def _a_limiter(self) -> AsyncLimiter:
        made_up_s = self._arrears.made_up_s(self._per_s)
        return AsyncLimiter(1 + self._per_s * made_up_s, 1 / self._per_s + made_up_s)
