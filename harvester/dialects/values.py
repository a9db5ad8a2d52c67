"""What goes into a dialect and what comes out of it: values only."""

from dataclasses import dataclass, field
from datetime import datetime

Key = str | int | tuple[str | int, ...]
"""What tells one record from another; a tuple where the dialect names several fields."""

Raw = bytes | memoryview
"""A record's bytes; or a view of where they stand on its page, which the view keeps in memory as a whole."""

Row = tuple[datetime, Key, str, Raw]
"""A record's time (aware, UTC), key, version ("" where it has none) and its bytes on one line: sorts by
(time, key)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One page of the records in start <= t < end; who asks has widened both ends already."""

    start: datetime
    end: datetime
    limit: int
    offset: int
    order_by: str | None
    """None: the order that the job chose, else the dialect's own."""
    after: str | int | None = None
    """Only records whose key is greater; the dialect says how (`Dialect.seeks`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request as plain values, below a base URL that only the transport knows."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    origin: str | None = None
    """Scheme and host, where they are not those of the base URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One item of an answer that is no valid record, as it came."""

    reason: str
    raw: bytes
    is_damaged: bool = False
    """Its bytes are no JSON, which says nothing of the fields that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`len(rows) + len(rejects)` is the number of items in the answer; a record that came twice is there
    twice."""

    rows: list[Row]
    """In the server's order."""
    rejects: list[Reject] = field(default_factory=list)
    received_bytes: int = 0
    decoded_bytes: int = 0

    @property
    def unfit(self) -> Reject | None:
        """The first item that could be read, and lacks what a record has."""
        return next((reject for reject in self.rejects if not reject.is_damaged), None)
