"""Whether the files of an output are those that its ledger knows: looked at before anything is built on them.

Damage is a shard that is gone, or that has another size or other bytes than were sealed. A stranger is a file
in a partition's folder that no build names and that no run was about to make or to remove.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harvester.errors import LedgerEmpty, NoManifest, StorageError
from harvester.ledger import LEDGER_NAME, LOCK_NAME, Ledger, home_of
from harvester.output.agreement import AWAY_WITH_IT, OF_ANOTHER, disagreements, is_of_another
from harvester.output.told import Standing, read_told
from harvester.shards import Receipt, naming
from harvester.shards.disk import Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    path: str
    """Relative to the output folder."""
    partition: str
    detail: str
    in_the_way: bool = False
    """No new file can take its place."""


def check_ledger_is_there(out: Path) -> None:
    """An output that lost its ledger is not begun anew underneath its manifest: StorageError. OtherVersion
    where this version cannot judge what stands there.
    """
    if not (out / naming.MANIFEST).exists():
        return
    path, what = home_of(out) / LEDGER_NAME, "the ledger is missing or empty"
    try:
        is_believed = read_told(out).standing is not Standing.CHANGED
    except NoManifest:
        is_believed = False
    if path.exists() and path.stat().st_size:
        return
    if is_believed:
        raise _is_to_be_rebuilt(out, f"{what}, but the output has a manifest")
    raise StorageError(
        f"{path}: {what}, and {naming.MANIFEST} is damaged; nothing was changed: {last_resort(out)}"
    )


def has_traces(out: Path) -> bool:
    """Whether a run has ever told or published something here, be ledger and manifest lost."""
    return (
        any((out / name).exists() for name in (naming.MANIFEST, naming.SUCCESS))
        or any(home_of(out).glob(f"{LEDGER_NAME}*"))
        or any(naming.is_published(path) for path in files_of_partitions(out))
    )


def last_resort(out: Path) -> str:
    """The way out where neither manifest nor ledger can be gone by."""
    return (
        "the shards alone do not tell what was never asked for. Bring "
        f"{naming.MANIFEST} or _harvest/{LEDGER_NAME} back from a copy of this output; without one, move "
        f"{out} away, or choose another output.url, and run the job again: it asks for everything anew"
    )


def check_nothing_is_replaced(disk: Disk) -> None:
    """StorageError where no harvest was begun and files stand that have the very names of ours: then they are
    somebody else's. One that was begun has its lock, also where its ledger was lost.
    """
    home = home_of(disk.root).name
    if disk.is_there(f"{home}/{LOCK_NAME}") or disk.size(f"{home}/{LEDGER_NAME}") > 0:
        return
    for name in (naming.SUCCESS, naming.spare(naming.SUCCESS), naming.spare(naming.MANIFEST)):
        if disk.is_there(name):
            raise StorageError(
                f"{disk.path(name)}: is not a file of ours, since no harvest was begun here; move it away or "
                "name another folder (output.url), then run again"
            )


def check_ledger_is_current(out: Path) -> str | None:
    """Raises StorageError where the ledger cannot have become what it is since the manifest was written: what
    is built on it could disagree with the files.

    A manifest that was changed, or is none, says nothing here, and the run writes it anew: returns what is
    wrong with it.
    """
    try:
        told = read_told(out)
    except NoManifest as error:
        return error.what
    if told.standing is Standing.CHANGED:
        return f"{out / naming.MANIFEST}: {told.changed}"
    try:
        with Ledger(home_of(out), read_only=True) as ledger:
            wrong = next((one for one in disagreements(told.manifest, ledger) if one.is_wrong), None)
            is_foreign = wrong is not None and is_of_another(
                told.manifest, ledger, Disk(out), files_of_partitions(out)
            )
    except LedgerEmpty:
        raise _is_to_be_rebuilt(out, "the ledger is empty, but the output has a manifest") from None
    except (KeyError, TypeError, ValueError) as error:
        return f"{out / naming.MANIFEST}: what it tells cannot be understood: {error}"
    if is_foreign:
        raise StorageError(f"{out / naming.MANIFEST}: {OF_ANOTHER}; nothing was changed: {AWAY_WITH_IT}")
    if wrong is not None:
        what = f"{wrong.subject}: {wrong.detail}"
        raise _is_to_be_rebuilt(
            out, f"the ledger lost entries, is an older copy or is damaged ({what})", force=True
        )
    return None


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
            if what := _damage(disk, receipt, build.partition, thorough=thorough):
                yield what
    if thorough:
        for partition in ledger.unfinished():
            for build in ledger.builds(partition):
                for receipt in build.receipts if build.generation is None else ():
                    if what := _damage(disk, receipt, partition, thorough=True):
                        yield what


def _damage(disk: Disk, receipt: Receipt, partition: str, *, thorough: bool) -> Damage | None:
    is_folder = False
    try:
        size = disk.size(receipt.path)
    except StorageError:
        detail = "is gone: a link stands in its place, and none is followed"
    else:
        is_folder = size >= 0 and disk.path(receipt.path).is_dir()
        if size < 0:
            detail = "is gone"
        elif is_folder:
            detail = "is gone: a folder stands in its place"
        elif size != receipt.size_bytes or not disk.path(receipt.path).is_file():
            detail = f"has {size} bytes, and {receipt.size_bytes} were sealed"
        elif thorough and disk.sha256(receipt.path) != receipt.sha256:
            detail = "has other bytes than were sealed: its SHA-256 differs"
        else:
            return None
    return Damage(path=receipt.path, partition=partition, detail=detail, in_the_way=is_folder)


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
