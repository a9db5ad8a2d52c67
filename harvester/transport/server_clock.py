"""The server's clock, as far as its answers' `Date` tells: whether a window is over is for the earlier of
two clocks to say.

A client that runs ahead would take a window for over into which the server still writes. So would one whose
clock is put forward while it runs: here time goes on as it did when the run began, or more slowly.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from harvester.events import Emit, ServerClockBehind, nobody
from harvester.transport.clock import Clock
from harvester.transport.status import http_date

_CUT_S: Final = 1.0
"""`Date` counts whole seconds."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
UNKNOWN: Final = timedelta(days=1)
_TOLD_FROM_S: Final = 2.0
"""Less is no skew, but a second's cut and the way."""


class ServerClock:
    """Its `now` is the client's; `earlier` gives what may be the server's. The way of an answer makes the
    server look late, so of all answers the one counts by which it is least behind."""

    def __init__(self, clock: Clock, *, emit: Emit = nobody) -> None:
        self._clock = clock
        self._began: tuple[datetime, float] | None = None
        self._emit = emit
        self._behind_s: float | None = None
        self._is_told = False

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def now(self) -> datetime:
        """The client's clock; where it was put forward since it was asked first, what it would show without.
        To be asked on the loop.
        """
        shown, ticks = self._clock.now(), self._clock.monotonic()
        if self._began is None:
            self._began = shown, ticks
        began, began_ticks = self._began
        return min(shown, began + timedelta(seconds=ticks - began_ticks))

    async def sleep(self, seconds: float, /) -> None:
        await self._clock.sleep(seconds)

    def hear(self, headers: Mapping[str, str]) -> None:
        """Of an answer that has just come; names in lower case. One without a `Date` tells nothing."""
        there = http_date(headers.get("date", ""))
        if there is None:
            return
        behind_s = (self.now() - there).total_seconds() - _CUT_S
        self._behind_s = behind_s if self._behind_s is None else min(self._behind_s, behind_s)

    def earlier(self, moment: datetime) -> datetime:
        """A moment of the client's clock, or of the server's where that runs behind. Of one that lies ahead
        by now, since the clock was put back, nobody knows when it was: long ago is safe.
        """
        now = self.now()
        if moment > now:
            return now - UNKNOWN
        behind_s = max(0.0, self._behind_s or 0.0)
        if behind_s >= _TOLD_FROM_S and not self._is_told:
            self._is_told = True
            self._emit(ServerClockBehind(behind_s=round(behind_s, 1)))
        try:
            return moment - timedelta(seconds=behind_s)
        except OverflowError:  # a clock that shows the year 1
            return _LONG_AGO
