"""What verify found: each difference with its kind, what it is about, and how it differs."""

from dataclasses import dataclass, field
from typing import Final

OF_DAMAGED_FILES: Final = frozenset({"missing", "unreadable", "sha256", "size"})
"""Kinds of difference that a file has which is not the one that was sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was said to be."""

    kind: str
    """missing, foreign, sha256, size, count, order, partition, doubled, unreadable, manifest or ledger."""
    subject: str
    """The file, the partition or the key that it is about."""
    detail: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    out: str
    complete: bool = False
    """Everything that was asked of the output is proven. An honest gap is told here and is no difference."""
    partitions: int = 0
    shards: int = 0
    records: int = 0
    bytes: int = 0
    gaps: int = 0
    notes: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    way_out: str | None = None
    """The commands that mend damaged files, where there are any and a way."""

    def differ(self, kind: str, subject: str, detail: str) -> None:
        self.differences.append(Difference(kind=kind, subject=subject, detail=detail))

    @property
    def is_good(self) -> bool:
        return not self.differences
