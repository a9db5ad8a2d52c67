"""What an output holds, by its ledger alone; read without a lock, also while a run goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.errors import StorageError
from harvester.ledger.database import Ledger
from harvester.ledger.file import home_of, is_begun
from harvester.ledger.states import Gap
from harvester.windows import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    partition: str
    generation: int
    records: int
    shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an output holds, by its ledger alone."""

    out: str
    job: dict[str, Any]
    spans: list[Span]
    complete: bool
    windows_done: int
    windows_failed: int
    open: list[Span]
    """Stretches that no done window covers; failed windows lie in them."""
    gaps: list[Gap]
    records: int
    """In proven and in published windows."""
    partitions: list[PartitionStatus]
    staged_partitions: list[str]
    """Begun and not yet published: a run is going on, or was killed."""
    learned: dict[str, Any]


def read_status(out: Path) -> Status:
    """Reads without a lock, also while a run goes on. Raises StorageError where no ledger stands."""
    if not is_begun(out):
        raise StorageError(f"{out}: no harvest was begun here (no _harvest/ledger.sqlite)")
    with Ledger(home_of(out), read_only=True) as ledger:
        spans = ledger.spans()
        open_spans = [part for span in spans for part in ledger.missing(span)]
        counts = ledger.counts()
        return Status(
            out=str(out),
            job=ledger.job() or {},
            spans=spans,
            complete=bool(spans) and not open_spans and not ledger.unfinished(),
            windows_done=counts.done,
            windows_failed=counts.failed,
            open=open_spans,
            gaps=ledger.gaps(),
            records=counts.records,
            partitions=[
                PartitionStatus(
                    partition=build.partition,
                    generation=build.generation or 0,
                    records=sum(receipt.records for receipt in build.receipts),
                    shards=len(build.receipts),
                )
                for build in ledger.published()
            ],
            staged_partitions=ledger.unfinished(),
            learned=ledger.learned(),
        )
