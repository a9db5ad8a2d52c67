"""Whether the manifest and the ledger beside it tell of the same output, and what to do where they do not.

The manifest is a picture of what the ledger was at the end of a run. Since then

- a run that was killed may have added to the ledger: spans, generations, failures. The next run tells them;
- it may have taken back what was proven, since files are damaged or a clock ran ahead. The next run asks for
  that once more;
- nothing has made a generation less, changed one, or proven a window without a new one: a ledger that looks
  so lost entries, is an older copy, or was changed by something else, and nothing is built on it. Unless the
  shards know better: then the manifest is that of another output, and the ledger is good.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from harvester import windows
from harvester.errors import StorageError
from harvester.ledger import Build, Ledger
from harvester.output.manifest import Manifest, ManifestShard, calendar_of, iso, span_of
from harvester.output.picture import shards_of
from harvester.shards import naming
from harvester.shards.disk import Disk
from harvester.windows import Span, merge, subtract

OF_ANOTHER: Final = "is of another output: its own shards are not here, and others are"
AWAY_WITH_IT: Final = f"move {naming.MANIFEST} away, and run the job again to write it anew from the ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    subject: str
    """A partition's folder, `job`, `spans` or `gaps`."""
    detail: str
    is_wrong: bool
    """The ledger cannot have become so. Else the next run brings both together."""


def disagreements(manifest: Manifest, ledger: Ledger) -> Iterator[Disagreement]:
    """For a manifest that is what was written, or may be. Raises KeyError, TypeError or ValueError where it
    tells what cannot be understood.
    """
    if manifest.job["settings"] != ledger.job() or manifest.job["reading"] != ledger.reading():
        yield _wrong("job", "the ledger tells of another job than the manifest")
    asked, known = [span_of(span) for span in manifest.spans], ledger.spans()
    for span in asked:
        for part in subtract(span, known):
            yield _wrong("spans", f"{_text(part)} was asked for and is not in the ledger")
    for span in known:
        for part in subtract(span, asked):
            yield _behind("spans", f"{_text(part)} is asked for by the ledger and not by the manifest")
    builds = {build.partition: build for build in ledger.published()}
    yield from _partitions(manifest, builds)
    yield from _proven(manifest, ledger, builds)


def is_of_another(manifest: Manifest, ledger: Ledger | None, disk: Disk, paths: Iterable[str]) -> bool:
    """Where ledger and manifest disagree, or there is no ledger: whether it is the manifest that does not
    belong here. Shards stand at `paths` that it does not know, none stands that it alone knows, and no run
    can have made it of what the ledger was. Where one can have, the ledger is an older copy, and the manifest
    tells what it has forgotten. Raises what `disagreements` raises.
    """
    told = {(shard.path, shard.bytes, shard.sha256) for shard in manifest.shards}
    known = {
        (receipt.path, receipt.size_bytes, receipt.sha256)
        for build in (ledger.published() if ledger else ())
        for receipt in build.receipts
    }
    others = {*filter(naming.is_published, paths)} - {path for path, *_ in told}
    if not _any_stands(disk, known - told) and not (told - known and others):
        return False
    return not _any_stands(disk, told - known) and not (ledger and _may_be_later(manifest, ledger))


def _may_be_later(manifest: Manifest, ledger: Ledger) -> bool:
    asked = [span_of(span) for span in manifest.spans]
    generations = {one.partition: one.generation for one in manifest.partitions}
    return (
        manifest.job["settings"] == ledger.job()
        and not any(subtract(span, asked) for span in ledger.spans())
        and all(
            (build.generation or 0) < generations.get(build.partition, 0)
            or shards_of(build) == [shard for shard in manifest.shards if shard.partition == build.partition]
            for build in ledger.published()
        )
    )


def _any_stands(disk: Disk, shards: Iterable[tuple[str, int, str]]) -> bool:
    return any(_stands(disk, *shard) for shard in sorted(shards))


def _stands(disk: Disk, path: str, size_bytes: int, sha256: str) -> bool:
    try:
        return disk.size(path) == size_bytes and disk.sha256(path) == sha256
    except StorageError:  # a link, a folder, a path that leads out of the output
        return False


def _partitions(manifest: Manifest, builds: dict[str, Build]) -> Iterator[Disagreement]:
    told: dict[str, list[ManifestShard]] = {}
    for shard in manifest.shards:
        told.setdefault(shard.partition, []).append(shard)
    for one in manifest.partitions:
        folder, build = naming.folder(one.partition), builds.get(one.partition)
        known = (build and build.generation) or 0
        if known < one.generation:
            yield _wrong(folder, f"the ledger knows generation {known}, the manifest {one.generation}")
        elif known > one.generation:
            yield _behind(folder, f"the manifest tells generation {one.generation}, the ledger {known}")
        elif build and shards_of(build) != told.get(one.partition, []):
            yield _wrong(folder, "the shards of the ledger are not those of the manifest")
        elif build and build.second_key_shared not in (None, one.second_key_shared):
            yield _wrong(folder, "the ledger has counted another number of shared second keys")
    for name in sorted({*builds} - {one.partition for one in manifest.partitions}):
        yield _behind(naming.folder(name), "is in the ledger and not in the manifest")


def _proven(manifest: Manifest, ledger: Ledger, builds: dict[str, Build]) -> Iterator[Disagreement]:
    by, time_zone = calendar_of(manifest)
    gaps = [span_of(gap) for gap in manifest.gaps]
    told = [part for span in manifest.spans for part in subtract(span_of(span), gaps)]
    known = [
        part
        for span in merge([*ledger.spans(), *map(span_of, manifest.spans)])
        for part in subtract(span, ledger.unpublished(span))
    ]
    for span in told:
        for part in subtract(span, known):
            yield _behind("gaps", f"{_text(part)} is proven in the manifest and no longer in the ledger")
    generations = {one.partition: one.generation for one in manifest.partitions}
    for span in known:
        for part in subtract(span, told):
            for partition in windows.partitions(part, by, time_zone):
                build = builds.get(partition.name)
                if build is None or build.generation == generations.get(partition.name):
                    inside = part.overlap(Span(start=partition.start, end=partition.end))
                    yield _wrong(
                        "gaps", f"{_text(inside or part)} is proven in the ledger, a gap in the manifest"
                    )


def _text(span: Span) -> str:
    return f"{iso(span.start)} to {iso(span.end)}"


def _wrong(subject: str, detail: str) -> Disagreement:
    return Disagreement(subject=subject, detail=detail, is_wrong=True)


def _behind(subject: str, detail: str) -> Disagreement:
    return Disagreement(subject=subject, detail=detail, is_wrong=False)
