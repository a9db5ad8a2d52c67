"""What the server saw: counts, times and the windows asked, kept cheaply and told as one JSON object."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

KEPT_REQUESTS = 100_000


@dataclass(slots=True)
class Stats:
    """Times are the server's own clock, in seconds since its first request."""

    requests: int = 0
    rows: int = 0
    bytes: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    by_status: Counter[int] = field(default_factory=Counter)
    by_dataset: Counter[str] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    by_second: dict[int, list[int]] = field(default_factory=dict)  # answered, of these 429
    asked: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    windows: set[tuple[str, int, int]] = field(default_factory=set)

    def reset(self) -> None:
        """As new, but for the requests that are inside."""
        inside = self.in_flight
        self.__init__()  # type: ignore[misc]
        self.in_flight = inside

    def arrived(self, dataset: str) -> None:
        """Counts a request in."""
        now = time.monotonic()
        if not self.requests:
            self.first_s = now
        self.last_s = now
        self.requests += 1
        self.by_dataset[dataset] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def answered(self, status: int, size_bytes: int, rows: int) -> None:
        self.by_status[status] += 1
        self.bytes += size_bytes
        self.rows += rows
        second = self.by_second.setdefault(int(time.monotonic() - self.first_s), [0, 0])
        second[0] += 1
        second[1] += status == 429

    def report(self) -> dict[str, Any]:
        answered = sum(self.by_status.values())
        elapsed = self.last_s - self.first_s
        return {
            "requests": self.requests,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "by_dataset": dict(self.by_dataset),
            "by_fault": dict(self.by_fault),
            "by_second": {str(second): counts for second, counts in self.by_second.items()},
            "throttled_share": self.by_status[429] / answered if answered else 0.0,
            "rows": self.rows,
            "bytes": self.bytes,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "windows": len(self.windows),
            "elapsed_s": round(elapsed, 6),
            "requests_per_s": round((self.requests - 1) / elapsed, 3) if elapsed else None,
            "cpu_s": round(time.process_time(), 3),
        }
