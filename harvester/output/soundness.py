"""Whether the files of an output are those that its ledger knows: looked at before anything is built on them.

Damage is a shard that is gone, or that has another size or other bytes than were sealed. A stranger is a file
in a partition's folder that no build names and that no run was about to make or to remove.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harvester.ledger import Ledger
from harvester.shards import Receipt
from harvester.shards.disk import Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    path: str
    """Relative to the output folder."""
    partition: str
    detail: str


def damages(disk: Disk, ledger: Ledger, *, thorough: bool) -> Iterator[Damage]:
    """In the published shards, by their sizes; `thorough` reads each, and those that are staged too.

    Partitions that are known to be damaged already are passed over.
    """
    known = ledger.void_partitions()
    for build in ledger.published():
        if build.partition in known:
            continue
        for receipt in build.receipts:
            if what := _damage(disk, receipt, thorough=thorough):
                yield Damage(path=receipt.path, partition=build.partition, detail=what)
    if thorough:
        for partition in ledger.unfinished():
            for build in ledger.builds(partition):
                for receipt in build.receipts if build.generation is None else ():
                    if what := _damage(disk, receipt, thorough=True):
                        yield Damage(path=receipt.path, partition=partition, detail=what)


def _damage(disk: Disk, receipt: Receipt, *, thorough: bool) -> str | None:
    path = disk.path(receipt.path)
    try:
        size = path.stat().st_size
    except OSError:
        return "is gone"
    if size != receipt.size_bytes or not path.is_file():
        return f"has {size} bytes, and {receipt.size_bytes} were sealed"
    if thorough and disk.sha256(receipt.path) != receipt.sha256:
        return "has other bytes than were sealed: its SHA-256 differs"
    return None


def strangers(disk: Disk, ledger: Ledger) -> list[str]:
    """Paths of files that are not ours, relative to the output folder."""
    ours = set(ledger.garbage())
    ours.update(receipt.path for build in ledger.published() for receipt in build.receipts)
    return [path for path in files_of_partitions(disk.root) if path not in ours]


def files_of_partitions(out: Path) -> Iterator[str]:
    """Files that a reader of `dt=*/*` would take for output, in order; names with a leading `_` or `.` are
    passed over, as readers do.
    """
    for folder in sorted(out.glob("dt=*")):
        for place, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                if not name.startswith(("_", ".")):
                    yield (Path(place) / name).relative_to(out).as_posix()
