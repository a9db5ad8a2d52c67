"""An event loop whose time passes only while nobody has anything to do, and then at once.

Timers, sleeps, timeouts and rate limits behave as ever, an hour takes milliseconds, and two runs are alike.
Only for tests without sockets and threads: the loop would not wait for them.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

TURN_S = 1e-7
"""What a turn of the loop takes: time that stood still in it would let who waits for the last 1e-17 s wait
for ever."""


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: "VirtualTimeLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will not happen")
        self._loop.passed_s += timeout + TURN_S
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.passed_s = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.passed_s


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """anyio.run() in virtual time, beginning at 0."""
    return anyio.run(main, *args, backend_options={"loop_factory": VirtualTimeLoop})


class Highest(random.Random):
    """Draws the upper bound each time: full jitter without the jitter."""

    def random(self) -> float:
        return 1.0
