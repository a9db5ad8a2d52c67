"""Counters: what has happened so far, in numbers, for the progress bar and the run's summary.

They listen on the loop and are read from the bar's thread: every field is one plain value that is replaced
whole, so a reader sees each of them right, though not all of the same instant.
"""

import time
from collections import deque
from collections.abc import Callable

from harvester import events

RATE_OVER_S = 30.0
"""The bar's rate and ETA speak of the last half minute: long enough to be calm, short enough to show a
pause.
"""


class Recent:
    """How fast a growing number grew lately; remembers two samples a second, no matter how often it is
    told.
    """

    def __init__(self, clock: Callable[[], float], over_s: float = RATE_OVER_S) -> None:
        self._clock = clock
        self._over_s = over_s
        self._samples: deque[tuple[float, float]] = deque([(clock(), 0.0)])

    def at(self, value: float) -> None:
        now = self._clock()
        if len(self._samples) > 1 and now - self._samples[-2][0] < 0.5:
            self._samples[-1] = (now, value)
        else:
            self._samples.append((now, value))
        while len(self._samples) > 2 and now - self._samples[1][0] > self._over_s:
            self._samples.popleft()

    def per_s(self) -> float:
        """Growth per second from the oldest remembered sample until now, so that standing still shows as
        well.
        """
        samples = tuple(self._samples)
        elapsed_s = self._clock() - samples[0][0]
        return (samples[-1][1] - samples[0][1]) / elapsed_s if elapsed_s > 0 else 0.0


class Counters:
    """A listener that counts. `clock` is monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started = clock()
        self.is_begun = False
        self.windows = 0
        self.windows_done = 0
        self.windows_failed = 0
        self.done_before = 0
        self.requests = 0
        self.retries = 0
        self.throttled = 0
        self.records = 0
        self.quarantined = 0
        self.received_bytes = 0
        self.decoded_bytes = 0
        self.paused_until = 0.0
        self.paused_for = ""
        self.draining = ""
        self._recent_records = Recent(clock)
        self._recent_windows = Recent(clock)

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self.started

    @property
    def records_per_s(self) -> float:
        return self.records / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def recent_records_per_s(self) -> float:
        return self._recent_records.per_s()

    @property
    def paused_s(self) -> float:
        """Seconds until requests may leave again; 0 when nothing holds them."""
        return max(0.0, self.paused_until - self._clock())

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last window at the rate of the last half minute; None while there is none to go
        by.
        """
        left = self.windows - self.windows_done - self.windows_failed
        per_s = self._recent_windows.per_s()
        return left / per_s if left > 0 and per_s > 0 else None

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.RunStarted():
                self.is_begun = True
                self.windows = event.windows
                self.done_before = event.done_before
            case events.RequestSent():
                self.requests += 1
            case events.PageFetched():
                self.received_bytes += event.received_bytes
                self.decoded_bytes += event.decoded_bytes
            case events.RequestFailed():
                self.retries += 1
                self.throttled += event.error == "Throttled"
            case events.Paused():
                self.paused_until = max(self.paused_until, self._clock() + event.wait_s)
                self.paused_for = event.reason
            case events.WindowDone():
                self._settled()
                self.windows_done += 1
                self.records += event.records
                self._recent_records.at(self.records)
                self._recent_windows.at(self.windows_done + self.windows_failed)
            case events.WindowFailed():
                self._settled()
                self.windows_failed += 1
                self._recent_windows.at(self.windows_done + self.windows_failed)
            case events.RecordQuarantined():
                self.quarantined += 1
            case events.DrainBegan():
                self.draining = event.reason
            case _:
                pass

    def _settled(self) -> None:
        """Windows that size themselves may become more than were foreseen."""
        self.windows = max(self.windows, self.windows_done + self.windows_failed + 1)


def duration(seconds: float) -> str:
    """3:07, or 2:04:11 from an hour on, or 3 d 4 h."""
    whole = round(seconds)
    if whole >= 100 * 3600:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    clock = f"{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 3600}:{clock}" if whole >= 3600 else clock.removeprefix("0")
