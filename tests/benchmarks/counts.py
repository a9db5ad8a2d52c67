"""Questions that are answered by counting: requests, as the simulator saw them. A busy machine changes
nothing.

Records are slim and the server cuts pages to 1000; each output was compared with the truth before it counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Final

from harvester.output import read_manifest
from tests.benchmarks.contestants import Contestant, Workshop
from tests.benchmarks.sections import Goal, Order, Report

CAP: Final = 1000
START = datetime(2024, 1, 1, tzinfo=UTC)
MOST_HOURS: Final = 10_000
"""Longer spans are not read by the hour as well: that would tell nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Records in so many days of 2024, with days of nothing asked for around them; all before today, for of
    what is to come nothing is asked for."""

    name: str
    records: int
    days: int = 30
    before: int = 0
    behind: int = 0
    flags: Sequence[str] = ()

    @property
    def start(self) -> datetime:
        return START - timedelta(days=self.before)

    @property
    def end(self) -> datetime:
        return START + timedelta(days=self.days + self.behind)


SPANS: Final = (
    Span(name="daily rhythm", records=20_000),
    Span(name="daily rhythm", records=200_000),
    Span(name="daily rhythm", records=2_000_000),
    Span(name="even", records=20_000, flags=("--rhythm", "flat")),
    Span(name="even", records=200_000, flags=("--rhythm", "flat")),
    Span(name="bursts", records=20_000, flags=("--rhythm", "bursty")),
    Span(name="bursts", records=200_000, flags=("--rhythm", "bursty")),
    Span(name="empty nights and weekends", records=20_000, flags=("--rhythm", "office")),
    Span(name="empty nights and weekends", records=200_000, flags=("--rhythm", "office")),
    Span(name="2,500 records in one instant, here and there", records=200_000, flags=("--cluster", "2500")),
    Span(name="one dense day", records=200_000, days=1),
    Span(name="one dense day in 30", records=200_000, days=1, before=15, behind=14),
    Span(name="a year of nothing, then the month", records=20_000, before=365),
    Span(name="the month, then a year of nothing", records=20_000, behind=365),
    Span(name="the month in seven years of nothing", records=20_000, before=1_825, behind=365 * 2),
)


def auto(order: Order) -> list[Report]:
    """Requests with resolution = "Auto" and a page cap of 1000, counted, not timed; --rounds has no say."""
    table: list[tuple[str, ...]] = [
        ("", "days", "empty days", "records", "full pages", "goal", "Auto", "Hour")
    ]
    goals = []
    for span in SPANS:
        flags = ["--slim", "--page-cap", str(CAP), *span.flags]
        end = (START + timedelta(days=span.days)).date().isoformat()
        with order.workshop(records=span.records, end=end, flags=flags) as shop:
            found = _count(shop, span, "Auto")
            hours: int | None = None
            if (span.end - span.start) // timedelta(hours=1) <= MOST_HOURS:
                hours = _count(shop, span, "Hour").requests
        records = shop.server.records
        goal = 1.25 * ceil(records / CAP) + found.empty_days
        named = f"{span.name}, {records:,} records"
        goals.append(Goal(what=f"requests, {named}", found=found.requests, limit=goal))
        if hours is not None:
            goals.append(Goal(what=f"against Hour windows, {named}", found=found.requests, limit=hours))
        table.append(
            (
                span.name,
                str((span.end - span.start).days),
                str(found.empty_days),
                f"{records:,}",
                str(ceil(records / CAP)),
                f"{goal:.0f}",
                str(found.requests),
                "" if hours is None else str(hours),
            )
        )
    return [
        Report(
            section="auto",
            title=f"requests for records in pages of {CAP}, concurrency 16",
            rows=[],
            goals=goals,
            counted=table,
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    requests: int
    empty_days: int


def _count(shop: Workshop, span: Span, resolution: str) -> _Count:
    one = shop.harvester("", start=span.start, end=span.end, resolution=resolution)
    days: set[str] = set()

    def check(place: Path) -> None:
        one.check(place)
        days.update(shard.partition for shard in read_manifest(place / "out").shards)

    shop.say(f"  {span.name}, {shop.server.records:,} records, {resolution}")
    _, requests = shop.once(Contestant(name=one.name, command=one.command, check=check))
    return _Count(requests=requests, empty_days=(span.end - span.start).days - len(days))


COUNTS: dict[str, Callable[[Order], list[Report]]] = {"auto": auto}
