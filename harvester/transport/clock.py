"""Time as the transport sees it, handed in so that tests own it."""

import asyncio
from datetime import UTC, datetime
from typing import Final, Protocol

import anyio


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only ever go up; the differences mean something."""
        ...

    def now(self) -> datetime:
        """The wall's time, aware."""
        ...

    async def sleep(self, seconds: float, /) -> None: ...


class LoopClock:
    """The event loop's own clock: a loop with virtual time has virtual sleeps without a patch."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()  # anyio.current_time() is the same at four times the cost

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds)


LOOP_CLOCK: Final = LoopClock()
"""It has no state, so one is enough for everybody."""
