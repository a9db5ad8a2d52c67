"""What passes between the scheduler's tasks: a step of the plan, and what became of it."""

from dataclasses import dataclass, field
from datetime import datetime

import anyio

from harvester.ledger import Settled
from harvester.records import Batch
from harvester.windows import Partition, Span, Window


@dataclass(slots=True)
class Sizing:
    """A stretch that is as long as it turns out to be: where it ended is told here, and the plan goes on
    there.
    """

    end: datetime | None = None
    told: anyio.Event = field(default_factory=anyio.Event)

    def tell(self, end: datetime) -> None:
        if self.end is None:
            self.end = end
            self.told.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A window to read, or a stretch that is cut into windows when it has been read: into those that end at
    `cuts`, where they are given. With neither it stands for a partition that a killed run sealed and did not
    publish.
    """

    number: int
    partition: Partition | None = None
    window: Window | None = None
    stretch: Span | None = None
    cuts: tuple[datetime, ...] = ()
    sizing: Sizing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is to be stored in one partition: a batch, or word of a window that failed, or neither."""

    partition: Partition
    batch: Batch | None = None
    failed: Settled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    number: int
    results: list[Result]
    is_sized: bool = False
    """A stretch that was as long as its records made it."""
