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

import msgspec

from harvester import dialects, windows
from harvester.dialects import Row
from harvester.errors import ConfigError, LedgerLost, NoManifest, StorageError, VerificationFailed
from harvester.ledger import (
    LEDGER_NAME,
    NOT_OVER,
    NOT_PUBLISHED,
    Build,
    Ledger,
    Lock,
    Settled,
    check_files,
    home_of,
)
from harvester.output import Manifest, ManifestShard, Standing, kept_lines, read_told
from harvester.output.agreement import AWAY_WITH_IT, OF_ANOTHER, is_of_another
from harvester.output.manifest import NOT_ASKED, ManifestGap, calendar_of, iso, span_of
from harvester.output.picture import picture
from harvester.output.soundness import files_of_partitions, has_traces, last_resort
from harvester.shards import Receipt, naming, read_rows
from harvester.shards.disk import Disk
from harvester.verify import Difference, verify
from harvester.windows import Span, Window, subtract

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
    doubted: list[str] = field(default_factory=list)
    """Unfinished partitions of a manifest without a digest, which the next run fetches again whole."""
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
    if not has_traces(out):
        raise ConfigError(f"{out}: no harvest was begun here; `harvester run` begins one")
    manifest, standing = _told(out)
    disk = Disk(out)
    disk.make_folder(_OWN)
    with Lock(home_of(out)):
        check_files(home_of(out))
        _refuse_a_manifest_of_another(disk, manifest)
        if not force:
            _refuse_to_replace_a_good_one(out)
        verdict = verify(out, by_ledger=False, progress=progress)
        damaged = _judge(out, verdict.differences, repair=repair, force=force)
        return _Rebuilding(disk, manifest, damaged, _doubted(manifest, standing)).run()


def _told(out: Path) -> tuple[Manifest, Standing]:
    """Raises NoManifest where there is none to go by: a ledger of which nothing is wrong is the way out, and
    without one nothing tells what was never asked for.
    """
    path = out / naming.MANIFEST
    try:
        told = read_told(out)
        if told.standing is not Standing.CHANGED:
            return told.manifest, told.standing
        what = f"{path}: {told.changed}"
    except NoManifest as error:
        what = error.what
    if _has_a_good_one(out):
        raise NoManifest(what, "the ledger can be read: run the job again to write the manifest anew from it")
    raise NoManifest(f"{what}, and no ledger can be read here", last_resort(out))


def _doubted(manifest: Manifest, standing: Standing) -> list[str]:
    """Partitions of which a manifest without a digest may call too much proven: a gap in a whole partition
    would contradict its `complete`, and one that has moved in another would not.
    """
    if standing is Standing.SOUND:
        return []
    return [one.partition for one in manifest.partitions if not one.complete]


def _has_a_good_one(out: Path) -> bool:
    path = home_of(out) / LEDGER_NAME
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with Ledger(home_of(out), read_only=True) as ledger:
            return ledger.job() is not None
    except LedgerLost:
        return False


def _way_out(out: Path) -> str:
    """Where the manifest cannot be right, although nothing shows that it was changed."""
    return AWAY_WITH_IT if _has_a_good_one(out) else last_resort(out)


def _refuse_to_replace_a_good_one(out: Path) -> None:
    if _has_a_good_one(out):
        path = home_of(out) / LEDGER_NAME
        raise StorageError(
            f"{path}: a ledger stands here that can be read; nothing was changed. If it is not the right "
            "one, --force puts it aside and makes another"
        )


def _refuse_a_manifest_of_another(disk: Disk, manifest: Manifest) -> None:
    """A ledger made of it would be that of another output as well."""
    out = disk.root
    try:
        if not _is_of_another(manifest, disk):
            return
    except (KeyError, TypeError, ValueError):
        return  # verify says what cannot be understood
    raise VerificationFailed(f"{out / naming.MANIFEST}: {OF_ANOTHER}; nothing was changed: {_way_out(out)}")


def _is_of_another(manifest: Manifest, disk: Disk) -> bool:
    paths = files_of_partitions(disk.root)
    if not _has_a_good_one(disk.root):
        return is_of_another(manifest, None, disk, paths)
    with Ledger(home_of(disk.root), read_only=True) as ledger:
        return is_of_another(manifest, ledger, disk, paths)


def _judge(out: Path, differences: list[Difference], *, repair: bool, force: bool) -> list[str]:
    """Partitions that have to be fetched again; VerificationFailed where no ledger can be made of this."""
    again = f"harvester rebuild-ledger {out}{' --force' if force else ''} --repair"
    # `_SUCCESS` says nothing that the manifest's own digest does not, and the next run writes it.
    real = [one for one in differences if one.kind != "foreign" and one.subject != naming.SUCCESS]
    wrong = [one for one in real if not repair or not _is_repairable(one)]
    if wrong:
        named = "; ".join(f"{one.subject}: {one.detail}" for one in wrong[:_NAMED_AT_MOST])
        more = f"; and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
        hint = (
            f"bring the files back, or have their partitions fetched again: `{again}`, then run the job again"
            if all(map(_is_repairable, wrong))
            else _way_out(out)
        )
        raise VerificationFailed(
            f"{out}: the files are not what the manifest says ({named}{more}); nothing was changed: {hint}"
        )
    return sorted({_partition(one) for one in real})


def _is_repairable(one: Difference) -> bool:
    return one.kind in _REPAIRABLE and bool(_partition(one))


def _partition(one: Difference) -> str:
    """The partition that a difference is about: its subject is `dt=NAME`, or a file in there."""
    name = one.subject.split("/")[0]
    return name.removeprefix(naming.folder("")) if name.startswith(naming.folder("")) else ""


class _Rebuilding:
    def __init__(self, disk: Disk, manifest: Manifest, damaged: list[str], doubted: list[str]) -> None:
        self._disk = disk
        self._out = disk.root
        self._manifest = manifest
        self._damaged = damaged
        self._doubted = doubted
        self._by, self._zone = calendar_of(manifest)  # verify has read it
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
            doubted=self._doubted,
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
                f"was changed: {_way_out(self._out)}"
            )
        for name in sorted({*self._damaged, *self._doubted}):
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
    return msgspec.structs.replace(manifest, gaps=gaps, digest=None)


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
