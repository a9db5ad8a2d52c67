"""A server that counts and says so, in virtual time: the simulator's own bucket and headers, read by our
table of statuses. Its wall may be wrong.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio

from harvester.testing.limits import Bucket
from harvester.transport import LOOP_CLOCK, Pace, Width
from harvester.transport.learned import Learned, Rate
from harvester.transport.status import failure
from tests.paced import paced
from tests.virtual_time import run

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
MAX_OUTAGE_S = 300.0


def in_seconds(seconds: float) -> Callable[[datetime], Mapping[str, str]]:
    return lambda now: {"retry-after": f"{seconds:.0f}"}


def as_date(seconds: float) -> Callable[[datetime], Mapping[str, str]]:
    """Cut to whole seconds, as dates are."""
    return lambda now: {"retry-after": _date(now + timedelta(seconds=seconds))}


def _date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def nothing(now: datetime) -> Mapping[str, str]:
    return {}


@dataclass(slots=True)
class AnnouncingServer:
    rate: float = 20.0
    burst: float = 2.0
    penalty_s: float = 0.0
    style: str = "none"
    """Of its `RateLimit` headers, as the simulator names them."""
    says: Callable[[datetime], Mapping[str, str]] = nothing
    """What else a refusal says, by the server's wall."""
    status: int = 429
    skew_s: float = 0.0
    refuses_first: int = 0
    """So many, whatever the bucket holds."""
    came_s: list[float] = field(default_factory=list)
    served: int = 0
    refused_s: list[float] = field(default_factory=list)

    def harvest(self, *, answers: int, tasks: int = 16) -> float:
        """Seconds until so many have come, with a rate that is learned."""

        async def main() -> float:
            await self._serve(answers, tasks, Learned(Rate(), LOOP_CLOCK))
            return anyio.current_time()

        return run(main)

    async def _serve(self, answers: int, tasks: int, pace: Pace) -> None:
        bucket, rng = Bucket(self.rate, self.burst, self.penalty_s), random.Random(3)

        class Wire:
            async def send(_, ask: int) -> int:
                await anyio.sleep(0.005 + rng.expovariate(2000))
                now_s = anyio.current_time()
                self.came_s.append(now_s)
                serves = len(self.came_s) > self.refuses_first and bucket.admits(now_s)
                there = BEGAN + timedelta(seconds=now_s + self.skew_s)
                told = bucket.headers(self.style, there.timestamp()) | dict(self.says(there))
                headers = {name.lower(): value for name, value in told.items()} | {"date": _date(there)}
                await anyio.sleep(0.005)
                if serves:
                    self.served += 1
                    return ask
                self.refused_s.append(now_s)
                here = BEGAN + timedelta(seconds=now_s)
                error = failure(self.status, headers, what="POST /", now=here, max_outage_s=MAX_OUTAGE_S)
                assert error is not None
                raise error

        width = Width(most=tasks)
        layer = paced(Wire(), tasks=tasks, pace=pace, width=width, rng=rng)

        async def work() -> None:
            while self.served < answers:
                await layer.send(1)

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(work)
