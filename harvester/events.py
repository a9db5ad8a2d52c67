"""What happened, told in the past tense: frozen facts that rooms emit and telemetry listens to.

A room is handed one `Emit` and calls it; it never knows who listens. A listener must not raise and must not
block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    out: str
    windows: int
    """Windows that this run will ask for; those done by earlier runs are not among them."""
    done_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSent:
    """A request left for the source: each try of each page is one, whatever comes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFetched:
    """A good page came. `received_bytes` is its size on the wire, `decoded_bytes` after decompression."""

    start: datetime
    end: datetime
    offset: int
    records: int
    received_bytes: int
    decoded_bytes: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """A request failed and will be tried again after `wait_s`; `error` is the class's name, `detail` its
    message.
    """

    error: str
    detail: str
    attempt: int
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The server asked everybody to wait, or is out of reach: no request leaves for `wait_s`."""

    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRejected:
    """The server said 401 to a token that had worked; the token file is read again for up to `wait_s`."""

    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsMoved:
    """A page did not join the one before it: the window is read again."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSplit:
    """The window, or what a page was to reach over, cannot be had in one piece: it is asked for in halves."""

    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuarantined:
    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDone:
    """All records of the window are at hand and handed to the store. Not yet sealed."""

    start: datetime
    end: datetime
    records: int
    duplicates: int
    outside: int
    requests: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFailed:
    start: datetime
    end: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSealed:
    path: str
    records: int
    size_bytes: int
    raw_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnWidened:
    """A column of a partition's tables holds more than was declared: `was` is empty for one that is new."""

    partition: str
    field: str
    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPublished:
    partition: str
    generation: int
    records: int
    shards: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDamaged:
    """A shard is gone or has other bytes than were sealed: its partition is fetched again."""

    path: str
    partition: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestChanged:
    """The manifest that stood there is not what was written: the run writes it anew from the ledger."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileForeign:
    """Somebody else's file lies among the shards, where readers of the folder would take it for output."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldNeverSeen:
    """No record of the run had this field, which tells versions or was to be replaced by a pseudonym: is it
    misspelt?"""

    field: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChanged:
    """The source does something else than `harvester probe` has found: the run goes on by what it sees."""

    fact: str
    known: str
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerClockBehind:
    """By its answers' `Date` the server's clock runs behind ours: windows are over when they are by its."""

    behind_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWentBack:
    """The clock shows less than a run saw before: windows that had just been over are asked for again."""

    seen: datetime
    now: datetime
    windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainBegan:
    """No new window is begun; what is under way is finished, sealed and committed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    status: str
    exit_code: int


Event = (
    RunStarted
    | RequestSent
    | PageFetched
    | RequestFailed
    | Paused
    | TokenRejected
    | RowsMoved
    | WindowSplit
    | RecordQuarantined
    | WindowDone
    | WindowFailed
    | ShardSealed
    | ColumnWidened
    | PartitionPublished
    | FileDamaged
    | ManifestChanged
    | FileForeign
    | FieldNeverSeen
    | ContractChanged
    | ServerClockBehind
    | ClockWentBack
    | DrainBegan
    | RunEnded
)
Emit = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The listener of last resort: hears nothing."""
