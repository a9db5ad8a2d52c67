"""A server that counts strictly, in virtual time: a token bucket behind a wire and a machine with jitter of
their own.

Deterministic: what it does follows from the seed and from when requests leave.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from harvester.errors import Throttled
from harvester.transport import Pace, Width
from tests.paced import paced
from tests.virtual_time import run


@dataclass(slots=True)
class Jitter:
    """Each request is up to some milliseconds on its way; now and then the machine stands still, and all
    who come meanwhile are let in together."""

    usual_s: float = 0.0005
    stall_s: float = 0.004
    stalls_per_s: float = 1.0

    def stalls(self, rng: random.Random) -> Callable[[float], float]:
        """When a request that comes at `now_s` is let in; times only ever go up."""
        begins_s = rng.expovariate(self.stalls_per_s) if self.stalls_per_s else float("inf")
        ends_s = 0.0

        def let_in(now_s: float) -> float:
            nonlocal begins_s, ends_s
            while now_s >= begins_s:
                ends_s = begins_s + rng.expovariate(1 / self.stall_s)
                begins_s = ends_s + rng.expovariate(self.stalls_per_s)
            return max(now_s, ends_s)

        return let_in


@dataclass(slots=True)
class StrictServer:
    rate: float
    burst: float
    seed: int = 1
    jitter: Jitter = field(default_factory=Jitter)
    wire_s: float = 0.001
    work_s: float = 0.001
    retry_after_s: float | None = 1.0
    served_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    async def serve(self, until_s: float, make_pace: Callable[[], Pace], *, tasks: int = 16) -> Pace:
        """Lets so many tasks ask as fast as the layers let them."""
        rng = random.Random(self.seed)
        let_in = self.jitter.stalls(random.Random(self.seed + 1))
        tokens, as_of_s = self.burst, 0.0

        class Wire:
            async def send(_, ask: int) -> int:
                nonlocal tokens, as_of_s
                await anyio.sleep(self.wire_s + rng.expovariate(1 / self.jitter.usual_s))
                now_s = anyio.current_time()
                await anyio.sleep(let_in(now_s) - now_s)
                now_s = anyio.current_time()
                tokens = min(self.burst, tokens + (now_s - as_of_s) * self.rate)
                as_of_s = now_s
                serves = tokens >= 1
                tokens -= serves
                (self.served_s if serves else self.refused_s).append(now_s)
                await anyio.sleep(
                    self.work_s * serves + self.wire_s + rng.expovariate(1 / self.jitter.usual_s)
                )
                if not serves:
                    raise Throttled("429", retry_after_s=self.retry_after_s)
                return ask

        pace, width, rng_door = make_pace(), Width(most=tasks), random.Random(self.seed + 2)
        layer = paced(Wire(), tasks=tasks, pace=pace, width=width, rng=rng_door)

        async def work() -> None:
            while anyio.current_time() < until_s:
                await layer.send(1)

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(work)
        return pace

    def harvest(self, make_pace: Callable[[], Pace], *, until_s: float, tasks: int = 16) -> Pace:
        return run(lambda: self.serve(until_s, make_pace, tasks=tasks))

    def used(self, since_s: float, until_s: float) -> float:
        """The share of R a second that was served."""
        return sum(since_s <= at_s < until_s for at_s in self.served_s) / ((until_s - since_s) * self.rate)

    def refused(self, since_s: float) -> float:
        """The share of the answers from then on."""
        refused = sum(at_s >= since_s for at_s in self.refused_s)
        return refused / (refused + sum(at_s >= since_s for at_s in self.served_s))
