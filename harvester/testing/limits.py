"""A strict server's limits: a token bucket with penalties, a count of requests in flight, and how both are
announced; and a busy one's, which lets them queue.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from .faults import Fault


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second, `burst` at most. Knocking while empty costs `penalty_s` more each time."""

    rate: float
    burst: float
    penalty_s: float = 0.0
    tokens: float = field(init=False)
    at_s: float = field(default=-1.0, init=False)

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def admits(self, now_s: float) -> bool:
        if self.at_s >= 0:
            self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        if self.tokens >= 1:
            self.tokens -= 1
            return True
        self.tokens -= self.penalty_s * self.rate
        return False

    def headers(self, style: str, now_unix_s: float) -> dict[str, str]:
        """What is left, in one of three dialects: seconds, epoch, or the IETF draft's one field."""
        left, reset_s = max(0, int(self.tokens)), max(0.0, (1 - self.tokens) / self.rate)
        limit = str(int(self.burst))
        if style == "draft":
            return {
                "RateLimit": f'"default";r={left};t={-int(-reset_s // 1)}',
                "RateLimit-Policy": f'"default";q={limit}',
            }
        if style not in ("seconds", "epoch"):
            return {}
        reset = -int(-reset_s // 1) if style == "seconds" else int(now_unix_s + reset_s) + 1
        return {
            "X-RateLimit-Limit": limit,
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(reset),
        }


class Limits:
    """The buckets of the `rate` faults and who is inside; a fault changed while running starts anew."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._buckets: dict[tuple[float, float, float], Bucket] = {}
        self._workers: dict[int, asyncio.Semaphore] = {}

    def workers(self, fault: Fault) -> asyncio.Semaphore:
        """Who is inside is in work."""
        return self._workers.setdefault(fault.value, asyncio.Semaphore(fault.value))

    def bucket(self, fault: Fault) -> Bucket:
        shape = (fault.value, float(fault.options["burst"]), float(fault.options["penalty_s"]))
        return self._buckets.setdefault(shape, Bucket(*shape))

    def refuses(self, struck: Mapping[str, Fault], now_s: float) -> Fault | None:
        """The fault that this request runs into. It is counted in `in_flight` already."""
        crowd, rate = struck.get("in_flight"), struck.get("rate")
        if crowd is not None and self.in_flight > crowd.value:
            return crowd
        if rate is not None and not self.bucket(rate).admits(now_s):
            return rate
        return None
