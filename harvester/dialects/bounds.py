"""How much an answer may hold, whatever it says. Pure.

How many bytes it may have is the transport's affair; a few bytes can still be a million records, or one value
that takes a hundred times its bytes when it is read. Bounds that the parser cannot keep by itself are here.
How deep values may nest, it keeps: as deep as Python's own stack goes, and what is deeper is told as that.
"""

from typing import Final

from harvester.errors import Rejected

MOST_RECORDS: Final = 100_000
"""In one page, or twice what was asked for where that is more: 64 MiB hold 22,000 usual records, and a
million tiny ones take 600 MiB when they are read."""
LARGE_BYTES: Final = 8 << 20
"""From here on records are counted before they are read. Below, no more fit than memory bears."""
MOST_BESIDE: Final = 100_000
"""Commas outside of the records: an envelope has three."""


class TooMany(Rejected):
    """Counts as the 413 that the server did not send: a smaller page or window may pass."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"the answer holds more than {most:,} records; ask for less at a time", status_code=413
        )


def most_records(limit: int) -> int:
    return max(MOST_RECORDS, 2 * limit)


def may_be_too_many(body: bytes, most: int) -> bool:
    """Whether to count item by item; never False where there are more than `most` records."""
    return len(body) > LARGE_BYTES and body.count(b"{") > most
