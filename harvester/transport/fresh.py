"""Once more on a connection of its own, for what met a kept one that the server had closed without a word.

Servers close connections when they like, and some after each answer; who sends at that moment finds out only
by an end without an answer. That is no failure of the server, so it waits for nothing and is no attempt of
the page. But it is a request: it takes a turn of the pace and a share of the budget for retries. What ends
without an answer on a fresh connection as well is a failure like any other.
"""

from dataclasses import replace
from typing import Final, Generic

from harvester.dialects import Request
from harvester.errors import Stale
from harvester.transport.budget import Budget
from harvester.transport.clock import Clock
from harvester.transport.layer import A, Layer

ALONE: Final = ("Connection", "close")
"""The header that says so: the session gives it a connection of its own, and the server need not keep it."""


class Fresh(Generic[A]):
    def __init__(self, inner: Layer[Request, A], budget: Budget, clock: Clock) -> None:
        self._inner = inner
        self._budget = budget
        self._clock = clock

    async def send(self, ask: Request) -> A:
        try:
            return await self._inner.send(ask)
        except Stale:
            pass
        await self._clock.sleep(self._budget.draw(self._clock.monotonic()))
        return await self._inner.send(replace(ask, headers=(*ask.headers, ALONE)))
