"""An event loop whose time passes only while nobody has anything to do, and then at once.

Timers, sleeps, timeouts and rate limits behave as ever, an hour takes milliseconds, and two runs are alike:
tasks and cancel scopes are numbered, since those that are cancelled together are woken in the order of a set.
Only for tests without sockets, and without threads but those of `inline_threads`: the loop would not wait for
them.
"""

import asyncio
import contextlib
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import count
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from anyio._backends import _asyncio

T = TypeVar("T")

TURN_S = 1e-7
"""What a turn of the loop takes: time that stood still in it would let who waits for the last 1e-17 s wait
for ever."""
MOST_TURNS = 3_000_000
"""Of a loop's life; more are a livelock. An hour at 20 requests a second takes a third of it."""


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: "VirtualTimeLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will not happen")
        self._loop.passed_s += timeout + TURN_S
        self._loop.turns += 1
        if self._loop.turns > MOST_TURNS:
            raise RuntimeError(f"a livelock: {MOST_TURNS:,} turns, at {self._loop.passed_s:.6f} s")
        return []


class _Numbered(asyncio.Task[Any]):
    """A task that has the same hash in each run."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "VirtualTimeLoop", **other: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(coro, loop=loop, **other)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.passed_s = 0.0
        self.turns = 0
        self.numbers = count()
        super().__init__(_Jump(self))
        self.set_task_factory(lambda loop, coro, **other: _Numbered(coro, loop=self, **other))

    def time(self) -> float:
        return self.passed_s


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """anyio.run() in virtual time, beginning at 0."""
    with _numbered_scopes():
        return anyio.run(main, *args, backend_options={"loop_factory": VirtualTimeLoop})


@contextlib.contextmanager
def _numbered_scopes() -> Iterator[None]:
    numbers = count()
    plain = _asyncio.CancelScope

    class Numbered(plain):  # type: ignore[misc,valid-type]
        """A scope that has the same hash in each run."""

        __slots__ = ("number",)

        def __init__(self, *args: Any, **other: Any) -> None:
            self.number = next(numbers)
            super().__init__(*args, **other)

        def __hash__(self) -> int:
            return self.number

        def __eq__(self, other: object) -> bool:
            return self is other

    _asyncio.CancelScope = Numbered  # type: ignore[misc]
    try:
        yield
    finally:
        _asyncio.CancelScope = plain  # type: ignore[misc]


@contextlib.contextmanager
def inline_threads(hop_s: Callable[[], float]) -> Iterator[None]:
    """`anyio.to_thread.run_sync` runs in the loop's own thread, between two waits of `hop_s`: others go on
    meanwhile, as they would beside a worker thread, and nothing depends on the machine.
    """

    async def run_inline(
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,
        limiter: object = None,
    ) -> Any:
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=not abandon_on_cancel):
            await anyio.sleep(hop_s())
            answer = func(*args)
            await anyio.sleep(hop_s())
        return answer

    backend = _asyncio.AsyncIOBackend
    whole = backend.__dict__["run_sync_in_worker_thread"]
    backend.run_sync_in_worker_thread = staticmethod(run_inline)  # type: ignore[method-assign]
    try:
        yield
    finally:
        backend.run_sync_in_worker_thread = whole  # type: ignore[method-assign]


class Highest(random.Random):
    """Draws the upper bound each time: full jitter without the jitter."""

    def random(self) -> float:
        return 1.0
