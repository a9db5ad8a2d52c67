"""Whether the files of an output are those that its ledger knows: looked at before anything is built on them.

Damage is a shard that is gone, or that has another size or other bytes than were sealed. A stranger is a file
in a partition's folder that no build names and that no run was about to make or to remove.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harvester.errors import LedgerEmpty, StorageError, VerificationFailed
from harvester.ledger import LEDGER_NAME, Ledger, home_of
from harvester.output.manifest import ManifestShard, iso, read_manifest, span_of
from harvester.output.picture import shards_of
from harvester.shards import Receipt, naming
from harvester.shards.disk import Disk
from harvester.windows import subtract


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    path: str
    """Relative to the output folder."""
    partition: str
    detail: str


def check_ledger_is_there(out: Path) -> None:
    """An output that lost its ledger is not begun anew underneath its manifest: StorageError."""
    path = home_of(out) / LEDGER_NAME
    if (out / naming.MANIFEST).exists() and not (path.exists() and path.stat().st_size):
        raise _is_to_be_rebuilt(out, "the ledger is missing or empty, but the output has a manifest")


def check_ledger_is_current(out: Path) -> None:
    """Raises StorageError where the ledger knows less than the manifest, which is a picture of what it once
    was: then it lost entries, or is an older copy, and what is built on it could disagree with the files.

    A manifest that cannot be read says nothing here: the run writes it anew.
    """
    try:
        manifest = read_manifest(out)
        asked = [span_of(span) for span in manifest.spans]
    except (VerificationFailed, StorageError, ValueError):
        return
    try:
        with Ledger(home_of(out), read_only=True) as ledger:
            spans = ledger.spans()
            builds = {build.partition: build for build in ledger.published()}
    except LedgerEmpty:
        raise _is_to_be_rebuilt(out, "the ledger is empty, but the output has a manifest") from None
    told: dict[str, list[ManifestShard]] = {}
    for shard in manifest.shards:
        told.setdefault(shard.partition, []).append(shard)
    for one in manifest.partitions:
        build = builds.get(one.partition)
        known = 0 if build is None else build.generation or 0
        if known < one.generation:
            what = f"of {one.partition} it knows generation {known}, the manifest {one.generation}"
            raise _is_to_be_rebuilt(out, f"the ledger lost entries or is an older copy ({what})", force=True)
        if build and known == one.generation and shards_of(build) != told.get(one.partition, []):
            what = f"the ledger is damaged (its shards of {one.partition} are not those of the manifest)"
            raise _is_to_be_rebuilt(out, what, force=True)
    for span in asked:
        if subtract(span, spans):
            what = f"{iso(span.start)} to {iso(span.end)} was asked for and is not in it"
            raise _is_to_be_rebuilt(out, f"the ledger lost entries or is an older copy ({what})", force=True)


def _is_to_be_rebuilt(out: Path, what: str, *, force: bool = False) -> StorageError:
    command = f"harvester rebuild-ledger {out}{' --force' if force else ''}"
    return StorageError(
        f"{home_of(out) / LEDGER_NAME}: {what}; nothing was changed. `{command}` restores it from the "
        "manifest and the shards"
    )


def damages(disk: Disk, ledger: Ledger, *, thorough: bool) -> Iterator[Damage]:
    """In the published shards, and in the lines that are kept beside tables, by their sizes; `thorough` reads
    each, and those that are staged too.

    Partitions that are known to be damaged already are passed over.
    """
    known = ledger.void_partitions()
    for build in ledger.published():
        if build.partition in known:
            continue
        lines = [receipt.lines for receipt in build.receipts if receipt.lines]
        for receipt in (*build.receipts, *lines):
            if what := _damage(disk, receipt, thorough=thorough):
                yield Damage(path=receipt.path, partition=build.partition, detail=what)
    if thorough:
        for partition in ledger.unfinished():
            for build in ledger.builds(partition):
                for receipt in build.receipts if build.generation is None else ():
                    if what := _damage(disk, receipt, thorough=True):
                        yield Damage(path=receipt.path, partition=partition, detail=what)


def _damage(disk: Disk, receipt: Receipt, *, thorough: bool) -> str | None:
    try:
        size = disk.size(receipt.path)
    except StorageError:
        return "is gone: a link stands in its place, and none is followed"
    if size < 0:
        return "is gone"
    if size != receipt.size_bytes or not disk.path(receipt.path).is_file():
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
