"""The schema of an output: every published record is read once, a block at a time.

By the ledger, so also while a run goes on: what it has published so far is read, in the order of time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from harvester.dialects import row_reader
from harvester.errors import LedgerDamaged, StorageError
from harvester.ledger import LEDGER_NAME, Build, Ledger, home_of
from harvester.shapes import Field, Fields, Shape
from harvester.shards import read_lines

BLOCK_RECORDS: Final = 1000
"""A page's worth: 3 MB of records, some 20 MB of objects while they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    out: str
    complete: bool
    """Everything that was asked of the output is proven and was read."""
    partitions: int
    records: int
    fields: list[Field]
    left_out: int
    """Fields that were met when `MOST_FIELDS` were known already; not told."""
    shape: Shape
    """Of a whole record."""


def read_schema(out: Path, *, progress: Callable[[int], None]) -> Schema:
    """Raises StorageError where the output has no ledger, or a shard is missing or damaged. `progress` is
    told the records read so far."""
    fields, partitions = Fields(), 0
    with Ledger(home_of(out), read_only=True) as ledger:
        time_of = _time_reader(out, ledger)
        for name in [build.partition for build in ledger.published()]:
            partitions += 1
            for path, block in _blocks(out, ledger, name):
                try:
                    fields.add(block, time_of)
                except (ValueError, RecursionError) as error:
                    raise StorageError(
                        f"{path}: holds a line that is no record ({error}); run harvester verify"
                    ) from None
                progress(fields.records)
        spans = ledger.spans()
        complete = bool(spans) and not any(ledger.missing(span) for span in spans)
    return Schema(
        out=str(out),
        complete=complete,
        partitions=partitions,
        records=fields.records,
        fields=fields.found(),
        left_out=fields.left_out,
        shape=fields.shape(),
    )


def _time_reader(out: Path, ledger: Ledger) -> Callable[[bytes], datetime]:
    try:
        read = row_reader(ledger.reading())
    except ValueError as error:
        raise LedgerDamaged(
            f"{home_of(out) / LEDGER_NAME}: {error}; `harvester rebuild-ledger {out} --force` makes it anew",
            f"is damaged ({error})",
        ) from None
    return lambda line: read(line)[0]


def _blocks(out: Path, ledger: Ledger, partition: str) -> Iterator[tuple[Path, list[bytes]]]:
    build = _published(ledger, partition)
    for receipt in build.receipts if build else ():
        path = out / receipt.path
        lines = read_lines(path)
        try:
            while block := list(islice(lines, BLOCK_RECORDS)):
                yield path, block
        except StorageError as error:
            if _published(ledger, partition) != build:
                raise StorageError(
                    f"{out}: dt={partition} was replaced while it was read; ask for the schema again"
                ) from None
            raise error


def _published(ledger: Ledger, partition: str) -> Build | None:
    return next((build for build in ledger.builds(partition) if build.generation is not None), None)
