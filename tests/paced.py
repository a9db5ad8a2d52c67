"""The layers between a task and a server, as a run stacks them, for servers under a virtual clock."""

import random

from harvester.transport import LOOP_CLOCK, Layer, Pace, Width
from harvester.transport.budget import Budget
from harvester.transport.gate import Door, Gate
from harvester.transport.limits import Concurrency
from harvester.transport.retry import Retry


def paced(
    server: Layer[int, int], *, tasks: int, pace: Pace, width: Width, rng: random.Random
) -> Retry[int, int]:
    door = Door(concurrency=tasks, max_outage_s=300, rng=rng)
    gate = Gate[int, int](server, door, pace=pace, width=width, emit=lambda event: None, clock=LOOP_CLOCK)
    return Retry[int, int](
        Concurrency(gate, width),
        max_attempts=8,
        max_outage_s=300,
        budget=Budget(),
        emit=lambda event: None,
        clock=LOOP_CLOCK,
        rng=rng,
    )
