"""A server with room for so many requests, in virtual time: the others queue, or are sent away.

What a request takes, once it is in work, is drawn from the seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from harvester.errors import Throttled
from harvester.transport import LOOP_CLOCK, Pace, Width
from harvester.transport.learned import Learned, Rate
from tests.paced import paced
from tests.virtual_time import run


@dataclass(slots=True)
class CrowdedServer:
    """`work_s` draws what one request takes; `refuses` makes the error for those beyond the room, None lets
    them queue."""

    room: int
    work_s: Callable[[random.Random], float] = lambda rng: 0.1
    refuses: Callable[[], Throttled] | None = None
    wire_s: float = 0.001
    seed: int = 3
    inside: int = 0
    came: list[int] = field(default_factory=list)
    """How many were inside, in the order in which they came, each of them included."""
    served_s: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """How many had been served before each refusal."""

    def harvest(self, *, answers: int, width: Width, pace: Callable[[], Pace] | None = None) -> float:
        """Seconds until so many answers have come, as fast as the layers let them."""

        async def main() -> float:
            await self._serve(answers, width, pace() if pace else Learned(Rate(), LOOP_CLOCK))
            return anyio.current_time()

        return run(main)

    async def _serve(self, answers: int, width: Width, pace: Pace) -> None:
        rng, desks = random.Random(self.seed), anyio.Semaphore(self.room)

        class Wire:
            async def send(_, ask: int) -> int:
                await anyio.sleep(self.wire_s)
                self.inside += 1
                self.came.append(self.inside)
                try:
                    if self.refuses is not None and self.inside > self.room:
                        self.refused.append(len(self.served_s))
                        raise self.refuses()
                    async with desks:
                        await anyio.sleep(self.work_s(rng))
                    self.served_s.append(anyio.current_time())
                finally:
                    self.inside -= 1
                await anyio.sleep(self.wire_s)
                return ask

        tasks = width.most
        layer = paced(Wire(), tasks=tasks, pace=pace, width=width, rng=rng)

        async def work() -> None:
            while len(self.served_s) < answers:
                await layer.send(1)

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(work)
