"""Half-open stretches of time, start <= t < end, held in UTC: what is asked for, what is sealed as one, what
is filed as one; and sets of them. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harvester.windows.instants import EARLIEST, EPOCH, LATEST, as_text, in_utc

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Interval:
    """Half-open. Takes any aware times, holds them in UTC; ValueError for naive ones or an empty interval."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC:
            object.__setattr__(self, "start", in_utc(self.start))
        if self.end.tzinfo is not UTC:
            object.__setattr__(self, "end", in_utc(self.end))
        if not self.start < self.end:
            raise ValueError(f"the start {as_text(self.start)} is not before the end {as_text(self.end)}")
        if self.start < EARLIEST or self.end > LATEST:
            raise ValueError(
                f"{as_text(self.start)} to {as_text(self.end)} is not within the years 2 to 9998"
            )

    def contains(self, t: datetime) -> bool:
        return self.start <= t < self.end


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span(_Interval):
    """What a job asks for; any length."""

    def overlap(self, other: "Span") -> "Span | None":
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start=start, end=end) if start < end else None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window(_Interval):
    """What is asked and sealed as one; lies within one partition."""

    def halves(self) -> "tuple[Window, Window]":
        """Cut in the middle, at a whole millisecond, as record times are; ValueError below 2 ms."""
        length = self.end - self.start
        if length < 2 * _MILLISECOND:
            raise ValueError(f"the window at {as_text(self.start)} is too short to be cut: under 2 ms")
        middle = self.start + length / 2
        cut = middle - (middle - EPOCH) % _MILLISECOND
        return Window(start=self.start, end=cut), Window(start=cut, end=self.end)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Partition(_Interval):
    """A local day or month, `name` "2024-01-01" or "2024-01"; ordered by time."""

    name: str


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same times in the fewest spans, in order: those that overlap or touch are one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            span = Span(start=merged[-1].start, end=max(merged.pop().end, span.end))
        merged.append(span)
    return merged


def subtract(span: Span, covered: Iterable[Span]) -> list[Span]:
    """What is left of `span`, in order; `covered` may come in any order and overlap."""
    left: list[Span] = []
    start = span.start
    for cover in merge(covered):
        if cover.end <= start:
            continue
        if cover.start >= span.end:
            break
        if start < cover.start:
            left.append(Span(start=start, end=cover.start))
        start = cover.end
    if start < span.end:
        left.append(Span(start=start, end=span.end))
    return left
