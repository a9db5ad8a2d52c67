"""What the ledger keeps, as values: the states of windows with every transition, builds, gaps and counts.

Times are kept as whole microseconds since 1970, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from harvester.shards import Receipt
from harvester.windows import Window

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class State(Enum):
    """A window's state. OPEN has no row."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    PROVISIONAL = "provisional"
    """Asked for before it was over: what came is kept, and it is asked for again."""


TRANSITIONS: Final[Mapping[tuple[State, State], bool]] = {
    (State.OPEN, State.OPEN): False,
    (State.OPEN, State.DONE): True,  # its last record was sealed
    (State.OPEN, State.FAILED): True,  # its attempts are used up
    (State.OPEN, State.PROVISIONAL): True,  # it was not over when it was asked for
    (State.DONE, State.OPEN): True,  # the files that held its records are damaged
    (State.DONE, State.DONE): False,  # a done window is never asked, so never done twice
    (State.DONE, State.FAILED): False,  # a failure takes nothing back that was proven
    (State.DONE, State.PROVISIONAL): True,  # the clock by which it was over ran ahead
    (State.FAILED, State.OPEN): True,  # windows of another cut take its place
    (State.FAILED, State.DONE): True,  # a later run filled the gap
    (State.FAILED, State.FAILED): True,  # a later run failed as well; the newer error stands
    (State.FAILED, State.PROVISIONAL): True,  # the source answers again, and the window is not over
    (State.PROVISIONAL, State.OPEN): True,  # windows of another cut take its place
    (State.PROVISIONAL, State.DONE): True,  # it is over now
    (State.PROVISIONAL, State.FAILED): True,  # the source failed when it was asked for again
    (State.PROVISIONAL, State.PROVISIONAL): True,  # it is still not over
}
"""Every transition there is, with its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a window: DONE, or why it is not proven, in the words that the user will read."""

    window: Window
    records: int
    error: str | None = None
    is_over: bool = True
    """Whether the window had ended when it was asked for."""

    @property
    def state(self) -> State:
        if self.error is not None:
            return State.FAILED
        return State.DONE if self.is_over else State.PROVISIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of the spans that is not proven, and why."""

    start: datetime
    end: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One partition's shards in the making, or as published (then `generation` is set)."""

    id: int
    partition: str
    generation: int | None
    receipts: tuple[Receipt, ...]
    second_key_shared: int | None = None
    """Records that share their second key with another one; None where nobody counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    done: int
    failed: int
    records: int


MOST_US: Final = 250 * 10**15
"""Nearly 8,000 years before and behind 1970: no calendar ends before."""


def to_us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_us)
