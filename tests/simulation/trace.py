"""Hears all that happens in a story, folds it into one digest, and checks what the events promise."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Final

from harvester.events import Event, PageFetched, Paused, RequestFailed

_LEFT_OUT: Final = {"elapsed_s", "out"}
"""The machine's own time and the folder's name."""
_RESERVE, _PER_ANSWER, _PER_S = 50.0, 0.5, 10.0
"""The promise of the retry budget: so many saved up, so many for an answer, so many each second."""
_SLACK: Final = 1e-6


class Trace:
    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._digest = hashlib.sha256()
        self.steps = 0
        self.heard: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.begin()

    def begin(self) -> None:
        """A new run, with budgets of its own."""
        self.paused_until_s = 0.0
        self.pause_began_s = -1.0
        self._retries = _RESERVE
        self._as_of_s = self._now_s()

    def hear(self, event: Event) -> None:
        name = type(event).__name__
        told = [
            f"{one.name}={getattr(event, one.name)}" for one in fields(event) if one.name not in _LEFT_OUT
        ]
        self.note(name, *told)
        if isinstance(event, Paused):
            self.pause_began_s = self._now_s()
            self.paused_until_s = max(self.paused_until_s, self._now_s() + event.wait_s)
        elif isinstance(event, PageFetched):
            self._refill()
            self._retries = min(_RESERVE, self._retries + _PER_ANSWER)
        elif isinstance(event, RequestFailed) and event.error not in ("ConnectFailed", "Throttled"):
            self._refill()
            self._retries -= 1
            if event.wait_s + _SLACK < -self._retries / _PER_S:
                self.wrong.append(
                    f"retry budget: a retry waits {event.wait_s:.3f} s, with {-self._retries:.1f} overdrawn"
                )

    def _refill(self) -> None:
        now_s = self._now_s()
        self._retries = min(_RESERVE, self._retries + (now_s - self._as_of_s) * _PER_S)
        self._as_of_s = now_s

    def note(self, name: str, *told: object) -> None:
        self.steps += 1
        self.heard[name] += 1
        self._digest.update(f"{self._now_s()!r} {name} {told}\n".encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()
