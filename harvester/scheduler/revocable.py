"""A fetch task's own layer: the step that it works on can be taken back until its first answer has come.

So a drain waits for windows of which something has come, and for none that only wait for their turn: at a
low rate the windows in the queue would keep a run going for as long as all of them take.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic

import anyio

from harvester.transport.layer import A, Layer, Q


class Revocable(Generic[Q, A]):
    """One step at a time."""

    def __init__(self, inner: Layer[Q, A]) -> None:
        self._inner = inner
        self._scope: anyio.CancelScope | None = None
        self._is_over = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """What is inside ends early, without an error, where it is taken back."""
        with anyio.CancelScope() as self._scope:
            if self._is_over:
                self._scope.cancel()
            yield
        self._scope = None

    async def send(self, ask: Q) -> A:
        answer = await self._inner.send(ask)
        self._scope = None
        return answer

    def take_back(self) -> None:
        """Ends the step that has had no answer, now or in future."""
        self._is_over = True
        if self._scope is not None:
            self._scope.cancel()
