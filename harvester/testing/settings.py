"""What one simulator is asked to be: its data, its door and its manners. Faults are data too; faults.py reads
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .rhythm import RHYTHMS

ENDS = (
    *("inclusive", "exclusive", "open", "end_only"),
    *("seconds", "exclusive_seconds", "open_seconds", "end_only_seconds"),  # the same, cut to seconds
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting has a default that suits a short test; `records` lie inside `start <= t < end`."""

    records: int = 5_000
    messages: int | None = None  # a quarter of `records` where not given; rendered when first asked for
    events: int | None = None  # likewise
    start: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    end: datetime = datetime(2024, 1, 8, tzinfo=UTC)
    seed: int = 1
    rhythm: str = "business"
    cluster: int = 25  # so many records share one instant, here and there; above half of `records`: none do
    beyond: int = (
        20  # further records just before `start` and from `end` on, which a harvest must leave alone
    )

    slim: bool = False  # interactions of four fields, 150 bytes each
    twins: float = 0.0  # this share of the records again under another key, with the same InteractionId

    token: str = "simulator-token"
    host: str = "127.0.0.1"
    port: int = 0
    latency_ms: float = 0.0
    page_cap: int = 10_000  # the largest Limit that is honoured; the page names none
    default_limit: int = 1_000  # where a request gives no Limit
    ends: str = "inclusive"  # exclusive: start <= t < end; open: start < t < end; end_only: start < t <= end
    gzip: bool = False  # answer compressed where the client accepts it
    zstd: bool = False  # the same, before gzip
    now: datetime | None = None  # the clock of relative ranges; the real one where not given
    live: bool = False  # records are there from when they were written, by that clock
    cache: Path | None = None  # keep rendered data here for the next start with the same settings
    faults: tuple[Mapping[str, object], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("start and end need a zone, as in 2024-01-01T00:00:00Z")
        if self.start >= self.end:
            raise ValueError(f"end {self.end.isoformat()} is not after start {self.start.isoformat()}")
        for name in ("records", "messages", "events", "cluster", "beyond"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is negative")
        if not 0 <= self.twins <= 1:
            raise ValueError("twins is a share, from 0 to 1")
        if self.page_cap < 1 or self.default_limit < 1:
            raise ValueError("page_cap and default_limit are 1 at least")
        if self.rhythm not in RHYTHMS:
            raise ValueError(f"no rhythm {self.rhythm!r}; there are {', '.join(RHYTHMS)}")
        if self.ends not in ENDS:
            raise ValueError(f"ends cannot be {self.ends!r}; they are {', '.join(ENDS)}")
