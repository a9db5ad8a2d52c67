"""The ledger made anew from the manifest and the shards, where it was lost or is damaged.

What the manifest calls proven (its spans without its gaps) is proven by the shards that it lists; so they
are all read first, as `verify` reads them, and nothing is restored from files that are not what it says.
The new ledger is made beside the old one, must give the same manifest again, and only then takes its place.
The old one is kept. Nothing else in the output is touched.

What no manifest tells is lost: the rate that was learned, and what was sealed and not yet published.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from harvester import dialects, windows
from harvester.dialects import Row
from harvester.errors import ConfigError, LedgerDamaged, LedgerEmpty, StorageError, VerificationFailed
from harvester.ledger import (
    LEDGER_NAME,
    NOT_OVER,
    NOT_PUBLISHED,
    Build,
    Ledger,
    Lock,
    Settled,
    home_of,
)
from harvester.output import Manifest, ManifestShard, kept_lines, read_manifest
from harvester.output.manifest import NOT_ASKED, ManifestGap, iso, span_of
from harvester.output.picture import picture
from harvester.output.soundness import files_of_partitions
from harvester.shards import Receipt, naming, read_rows
from harvester.shards.disk import Disk
from harvester.verify import Difference, verify
from harvester.windows import By, Span, Window, subtract

_OWN: Final = "_harvest"
_WORKSHOP: Final = f"{_OWN}/rebuild"
_REPAIRABLE: Final = {"missing", "unreadable", "sha256", "size", "count"}
"""Kinds of difference that a partition fetched anew would not have; the others are nobody's accident."""
_NAMED_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was restored, and what could not be."""

    out: str
    partitions: int
    shards: int
    records: int
    spans: list[Span]
    open: list[Span]
    """Stretches of the spans that the next run will ask for."""
    damaged: list[str] = field(default_factory=list)
    """Partitions that the next run will fetch again, since their files are damaged."""
    foreign: list[str] = field(default_factory=list)
    """Files among the shards that the manifest does not name: a stranger's, or of a run that was killed."""
    staged: list[str] = field(default_factory=list)
    """Leftovers in staging, which the next run removes."""
    kept: str | None = None
    """Where the ledger that stood there is now."""


def rebuild(
    out: Path,
    *,
    force: bool = False,
    repair: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Rebuilt:
    """Raises VerificationFailed where the manifest or the shards do not allow it, StorageError where a ledger
    stands that can be used (unless `force`), Locked where a run is at work, ConfigError where nothing is.

    With `repair`, partitions with damaged files are restored as such: the next run fetches them again.
    """
    if not out.is_dir():
        raise ConfigError(f"{out}: there is nothing here; name the folder that a run wrote to (output.url)")
    if not (out / naming.MANIFEST).exists() and not home_of(out).is_dir():
        raise ConfigError(f"{out}: no harvest was begun here; `harvester run` begins one")
    manifest = _manifest_of(out)
    disk = Disk(out)
    disk.make_folder(_OWN)
    with Lock(home_of(out)):
        if not force:
            _refuse_to_replace_a_good_one(out)
        verdict = verify(out, by_ledger=False, progress=progress)
        damaged = _judge(out, verdict.differences, repair=repair)
        return _Rebuilding(disk, manifest, damaged).run()


def _manifest_of(out: Path) -> Manifest:
    """Where there is none to go by, and no ledger that a run could write it from, to run again is no way
    out."""
    try:
        return read_manifest(out)
    except VerificationFailed as error:
        if _has_a_good_one(out):
            raise
        what, path = str(error).rpartition(". Run the job")[0], home_of(out) / LEDGER_NAME
        raise VerificationFailed(
            f"{what or error}. No ledger can be read here either: bring {naming.MANIFEST} back from a copy "
            f"of the output. Without one, remove {path} and run the job again; it asks for everything anew"
        ) from None


def _has_a_good_one(out: Path) -> bool:
    path = home_of(out) / LEDGER_NAME
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with Ledger(home_of(out), read_only=True) as ledger:
            return ledger.job() is not None
    except (LedgerDamaged, LedgerEmpty):
        return False


def _refuse_to_replace_a_good_one(out: Path) -> None:
    if _has_a_good_one(out):
        path = home_of(out) / LEDGER_NAME
        raise StorageError(
            f"{path}: a ledger stands here that can be read; nothing was changed. If it is not the right "
            "one, --force puts it aside and makes another"
        )


def _judge(out: Path, differences: list[Difference], *, repair: bool) -> list[str]:
    """Partitions that have to be fetched again; VerificationFailed where no ledger can be made of this."""
    real = [one for one in differences if one.kind != "foreign" and not _is_unvouched(out, one)]
    wrong = [one for one in real if not repair or one.kind not in _REPAIRABLE or not _partition(one)]
    if wrong:
        named = "; ".join(f"{one.subject}: {one.detail}" for one in wrong[:_NAMED_AT_MOST])
        more = f"; and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
        hint = (
            "bring the files back, or let --repair mark their partitions to be fetched again"
            if all(one.kind in _REPAIRABLE for one in wrong)
            else "bring manifest and files back from one copy of the output"
        )
        raise VerificationFailed(
            f"{out}: the files are not what the manifest says ({named}{more}); nothing was changed: {hint}"
        )
    return sorted({_partition(one) for one in real})


def _is_unvouched(out: Path, one: Difference) -> bool:
    """A run was killed between the manifest and `_SUCCESS`: the next run writes it."""
    return one.subject == naming.SUCCESS and not (out / naming.SUCCESS).exists()


def _partition(one: Difference) -> str:
    """The partition that a difference is about: its subject is `dt=NAME`, or a file in there."""
    name = one.subject.split("/")[0]
    return name.removeprefix(naming.folder("")) if name.startswith(naming.folder("")) else ""


class _Rebuilding:
    def __init__(self, disk: Disk, manifest: Manifest, damaged: list[str]) -> None:
        self._disk = disk
        self._out = disk.root
        self._manifest = manifest
        self._damaged = damaged
        settings = manifest.job["settings"]  # verify has read them
        self._by: By = "month" if settings["partition_by"] == "month" else "day"
        self._zone = ZoneInfo(settings["time_zone"])
        self._row = dialects.row_reader(manifest.job["reading"])
        self._shards: dict[str, list[ManifestShard]] = {}
        for shard in manifest.shards:
            self._shards.setdefault(shard.partition, []).append(shard)

    def run(self) -> Rebuilt:
        self._clear_workshop()
        self._disk.make_folder(_WORKSHOP)
        with Ledger(self._out / _WORKSHOP) as ledger:
            self._fill(ledger)
            open_spans = [part for span in ledger.spans() for part in ledger.missing(span)]
            known = ledger.files()
        kept = self._put_aside()
        self._disk.link(f"{_WORKSHOP}/{LEDGER_NAME}", f"{_OWN}/{LEDGER_NAME}")
        self._disk.sync_folder(_OWN)
        self._clear_workshop()
        told = {shard.path for shard in self._manifest.shards}
        return Rebuilt(
            out=str(self._out),
            partitions=len(self._manifest.partitions),
            shards=len(told),
            records=self._manifest.records,
            spans=[span_of(span) for span in self._manifest.spans],
            open=open_spans,
            damaged=self._damaged,
            foreign=[path for path in files_of_partitions(self._out) if path not in told],
            staged=[
                name for name in self._disk.files(naming.STAGING) if f"{naming.STAGING}/{name}" not in known
            ],
            kept=kept,
        )

    def _fill(self, ledger: Ledger) -> None:
        manifest = self._manifest
        ledger.restore(
            manifest.job["settings"],
            manifest.job["reading"],
            spans=[span_of(span) for span in manifest.spans],
            settled=self._settled(),
            published=self._builds(),
        )
        again = _as_restored(picture(ledger, self._by, self._zone))
        if not manifest.complete:  # it may have waited for a build that was staged and is lost
            again = msgspec.structs.replace(again, complete=False)
        told, names = _as_restored(manifest), manifest.__struct_fields__
        wrong = [name for name in names if getattr(again, name) != getattr(told, name)]
        if wrong:
            raise VerificationFailed(
                f"{self._out / naming.MANIFEST}: does not agree with itself ({', '.join(wrong)}); nothing "
                "was changed. Bring it back from a copy of the output"
            )
        for name in self._damaged:
            ledger.void(windows.partition_named(name, self._by, self._zone))

    def _builds(self) -> Iterable[Build]:
        with_lines = kept_lines.with_lines(self._disk)
        for one in self._manifest.partitions:
            receipts = tuple(map(_receipt, self._shards.get(one.partition, [])))
            if not one.complete and one.partition not in self._damaged:
                receipts = tuple(map(with_lines, receipts))
            yield Build(
                id=0,
                partition=one.partition,
                generation=one.generation,
                receipts=receipts,
                second_key_shared=one.second_key_shared,
            )

    # --- windows

    def _settled(self) -> list[Settled]:
        """A window for each proven stretch of a partition, and one for each that was asked for and is not."""
        gaps = [(span_of(gap), gap.error) for gap in self._manifest.gaps]
        told: list[tuple[Window, str | None]] = []
        for span in self._manifest.spans:
            for proven in subtract(span_of(span), [gap for gap, _ in gaps]):
                told += [(window, None) for window in self._cut(proven)]
        for gap, error in gaps:
            if error not in (NOT_ASKED, NOT_PUBLISHED):
                told += [(window, error) for window in self._cut(gap)]
        told.sort(key=lambda one: one[0])
        counts = self._counted([window for window, _ in told])
        return [
            Settled(
                window=window,
                records=records,
                error=None if error == NOT_OVER else error,
                is_over=error != NOT_OVER,
            )
            for (window, error), records in zip(told, counts, strict=True)
        ]

    def _cut(self, span: Span) -> Iterable[Window]:
        for partition in windows.partitions(span, self._by, self._zone):
            part = span.overlap(Span(start=partition.start, end=partition.end))
            if part is not None:
                yield Window(start=part.start, end=part.end)

    def _counted(self, told: list[Window]) -> list[int]:
        """Records in each of the windows, which are in order; only shards that a window cuts are read."""
        counts = [0] * len(told)

        def window_at(moment: datetime) -> int | None:
            at = bisect_right(told, moment, key=lambda window: window.start) - 1
            return at if at >= 0 and told[at].contains(moment) else None

        for name, shards in self._shards.items():
            for shard in map(_receipt, shards) if name not in self._damaged else ():
                at = window_at(shard.first)
                if at is not None and shard.last < told[at].end:
                    counts[at] += shard.records
                    continue
                for row in self._rows(shard):
                    at = window_at(row[0])
                    if at is not None:
                        counts[at] += 1
        return counts

    def _rows(self, shard: Receipt) -> Iterable[Row]:
        return read_rows(self._out / shard.path, self._row)

    # --- the place of the ledger

    def _put_aside(self) -> str | None:
        """Moves what stands there out of the way, the file before what SQLite keeps beside it: a kill leaves
        no ledger, and never one without its last entries.
        """
        home = home_of(self._out)
        if not any((home / f"{LEDGER_NAME}{end}").exists() for end in ("", "-wal")):
            self._disk.remove(f"{_OWN}/{LEDGER_NAME}-shm")
            return None
        number = 1
        while any((home / f"{LEDGER_NAME}.old-{number}{end}").exists() for end in ("", "-wal")):
            number += 1
        kept = f"{_OWN}/{LEDGER_NAME}.old-{number}"
        for end in ("", "-wal"):
            if (home / f"{LEDGER_NAME}{end}").exists():
                self._disk.link(f"{_OWN}/{LEDGER_NAME}{end}", f"{kept}{end}")
                self._disk.sync_folder(_OWN)
                self._disk.remove(f"{_OWN}/{LEDGER_NAME}{end}")
        self._disk.remove(f"{_OWN}/{LEDGER_NAME}-shm")
        self._disk.sync_folder(_OWN)
        return kept

    def _clear_workshop(self) -> None:
        for name in self._disk.files(_WORKSHOP):
            self._disk.remove(f"{_WORKSHOP}/{name}")
        self._disk.remove_empty_folder(_WORKSHOP)


def _as_restored(manifest: Manifest) -> Manifest:
    """What was sealed and not published is open again, and one with what was not asked yet beside it."""
    lost = (NOT_ASKED, NOT_PUBLISHED)
    failed = [gap for gap in manifest.gaps if gap.error not in lost]
    is_open = windows.merge(span_of(gap) for gap in manifest.gaps if gap.error in lost)
    joined = [ManifestGap(start=iso(span.start), end=iso(span.end), error=NOT_ASKED) for span in is_open]
    gaps = sorted([*failed, *joined], key=lambda gap: (gap.start, gap.end, gap.error))
    return msgspec.structs.replace(manifest, gaps=gaps)


def _receipt(shard: ManifestShard) -> Receipt:
    return Receipt(
        path=shard.path,
        records=shard.records,
        size_bytes=shard.bytes,
        raw_bytes=shard.raw_bytes,
        sha256=shard.sha256,
        first=datetime.fromisoformat(shard.first),
        last=datetime.fromisoformat(shard.last),
    )
