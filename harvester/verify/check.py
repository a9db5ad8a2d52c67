"""An output against its manifest, and the manifest against the ledger.

Read from the files themselves: SHA-256, sizes, counts, order, the partition of every record, and each key
once in the whole output. Memory does not grow with the output. Nothing is written to it and nothing is asked
of the source.

While a run is at work only the manifest that stands is judged, and its shards: what the run is about to
publish is no difference. Where it replaced the manifest in the meantime, the new one is judged instead.
"""

import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from harvester import dialects
from harvester.dialects import Key, Row
from harvester.errors import ConfigError, StorageError
from harvester.ledger import home_of, is_held
from harvester.output import Manifest, ManifestShard
from harvester.output.manifest import calendar_of, span_of
from harvester.output.soundness import has_traces
from harvester.shards import naming, read_lines
from harvester.verify.keys import Keys, digest
from harvester.verify.shards import NAMED_AT_MOST, Read, Shards, row_of
from harvester.verify.verdict import OF_DAMAGED_FILES, Verdict
from harvester.verify.witnesses import Witnesses
from harvester.windows import Partition, partition_named

Same = Callable[[bytes], Key | None]
"""What two lines of one record have in common; None for a line that is no record."""

TRIES: Final = 3
"""Times that an output is judged anew because a run changed it meanwhile."""


def verify(out: Path, *, by_ledger: bool = True, progress: Callable[[int], None] | None = None) -> Verdict:
    """Compares an output with what it says of itself. Raises ConfigError where there is no output at all, and
    StorageError where its ledger cannot be read now: locked, or of a newer version.

    `progress` is called with the number of records after each shard.
    """
    if not has_traces(out):
        raise ConfigError(f"{out}: there is no output here; run a harvest with output.url = {out} first")
    for _ in range(TRIES):
        before = (_stamp(out), is_held(home_of(out)))
        verifier = _Verifier(out, progress or (lambda records: None))
        verdict = verifier.run(by_ledger=by_ledger, at_work=by_ledger and before[1])
        if verdict.is_good or (_stamp(out), is_held(home_of(out))) == before:
            break
    return verdict


def _stamp(out: Path) -> tuple[int, int] | None:
    """Changes when another manifest takes the place of the one that stands."""
    try:
        state = (out / naming.MANIFEST).stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def _key_of(read: Read, identity: Callable[[Row], Key], line: bytes) -> Key | None:
    row = row_of(read, line)
    return None if row is None else identity(row)


class _Verifier:
    def __init__(self, out: Path, progress: Callable[[int], None]) -> None:
        self._out = out
        self._progress = progress
        self._verdict = Verdict(out=str(out))
        self._differ = self._verdict.differ

    def run(self, *, by_ledger: bool, at_work: bool) -> Verdict:
        verdict = self._verdict
        witnesses = Witnesses(self._out, verdict)
        manifest = witnesses.heard(by_ledger=by_ledger, at_work=at_work)
        if manifest is not None:
            verdict.complete = manifest.complete
            verdict.gaps = len(manifest.gaps)
            self._shards(manifest)
        if any(one.kind in OF_DAMAGED_FILES for one in verdict.differences):
            verdict.way_out = witnesses.way_to_mend_files()
        return verdict

    # --- what is there

    def _shards(self, manifest: Manifest) -> None:
        try:
            reading = manifest.job["reading"]
            read, identity = dialects.row_reader(reading), dialects.identity_of(reading)
            by, time_zone = calendar_of(manifest)
            names = {shard.partition for shard in manifest.shards}
            for span in manifest.spans:
                span_of(span)
            for gap in manifest.gaps:
                span_of(gap)
            for time in (time for shard in manifest.shards for time in (shard.first, shard.last)):
                datetime.fromisoformat(time)
            partitions = {name: partition_named(name, by, time_zone) for name in names}
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            self._differ("manifest", naming.MANIFEST, f"what it tells cannot be understood: {error}")
            return
        with tempfile.TemporaryDirectory(prefix="harvester-verify-") as folder, Keys(Path(folder)) as keys:
            shards = Shards(
                self._out,
                self._verdict,
                read=read,
                identity=identity,
                keys=keys,
                has_keys=dialects.has_keys(reading),
            )
            readable = self._read(manifest, partitions, shards)
            twice, number = keys.doubled()
            self._doubled(twice, number, readable, partial(_key_of, read, identity))

    def _read(
        self, manifest: Manifest, partitions: dict[str, Partition], shards: Shards
    ) -> list[ManifestShard]:
        """Judges each shard; returns those whose records were."""
        counted = dict.fromkeys(partitions, 0)
        readable: list[ManifestShard] = []
        for shard in manifest.shards:
            if shards.has_file(shard):
                counted[shard.partition] += shards.records(shard, partitions[shard.partition])
                readable += [shard] if shards.is_intact(shard) else []
            self._progress(self._verdict.records)
        self._counts(manifest, counted)
        return readable

    def _counts(self, manifest: Manifest, counted: dict[str, int]) -> None:
        self._verdict.partitions = len(manifest.partitions)
        for partition in manifest.partitions:
            found = counted.pop(partition.partition, 0)
            if found != partition.records:
                self._differ(
                    "count",
                    naming.folder(partition.partition),
                    f"{partition.records} records in the manifest, {found} in files that are as sealed",
                )
        for name in sorted(counted):
            self._differ("manifest", naming.folder(name), "has shards and is not among the partitions")
        if manifest.records != sum(partition.records for partition in manifest.partitions):
            self._differ("count", naming.MANIFEST, "its total is not the sum of its partitions")

    def _doubled(self, digests: set[bytes], number: int, shards: list[ManifestShard], same: Same) -> None:
        """Names the keys that stand more than once, and where; read again only when there are any."""
        if not digests:
            return
        places: dict[Key, list[str]] = {}
        for shard in shards:
            try:
                for at, line in enumerate(read_lines(self._out / shard.path), start=1):
                    key = same(line)
                    if key is None or digest(key) not in digests:
                        continue
                    if key in places or len(places) < NAMED_AT_MOST:
                        places.setdefault(key, []).append(f"{shard.path}:{at}")
            except StorageError:
                continue  # told already
        for key, where in places.items():
            self._differ("doubled", repr(key), f"stands {len(where)} times: {', '.join(where[:4])}")
        if number > len(places):
            self._differ("doubled", "more keys", f"{number - len(places)} further keys stand more than once")
