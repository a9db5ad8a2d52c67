"""verify: does the output hold what its manifest and its ledger say, to the byte?

Read from the files themselves: SHA-256, sizes, counts, order, the partition of every record, and each key
once in the whole output. Keys are compared over digests in files of a temporary folder, bucket by bucket,
so memory does not grow with the output. Nothing is written to the output and nothing is asked of the
source.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Literal
from zoneinfo import ZoneInfo

from harvester import dialects
from harvester.dialects import Key, Row
from harvester.errors import ConfigError, StorageError, VerificationFailed
from harvester.ledger import Build, Ledger, home_of, is_begun, is_held
from harvester.output import Manifest, ManifestShard, read_manifest
from harvester.output.manifest import iso, success_stands
from harvester.output.soundness import files_of_partitions
from harvester.shards import naming, read_lines
from harvester.windows import Partition, Span, partition_named

_Read = Callable[[bytes], Row]
_BUCKETS: Final = 64
"""Files of key digests; each is compared alone in memory: a hundred million keys need 100 MiB at a time."""
_DIGEST_BYTES: Final = 16
_NAMED_AT_MOST: Final = 100
"""Differences of one kind that are listed for one shard; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was said to be."""

    kind: str
    """missing, foreign, sha256, size, count, order, partition, doubled, unreadable, manifest or ledger."""
    subject: str
    """The file, the partition or the key that it is about."""
    detail: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    out: str
    complete: bool = False
    """Everything that was asked of the output is proven. An honest gap is told here and is no difference."""
    partitions: int = 0
    shards: int = 0
    records: int = 0
    bytes: int = 0
    gaps: int = 0
    notes: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.differences


class _Keys:
    """Digests of keys on disk, to find those that stand twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> "_Keys":
        self._files = [
            self._stack.enter_context((self._folder / f"keys-{number}").open("w+b"))
            for number in range(_BUCKETS)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, key: Key) -> None:
        digest = _digest(key)
        self._files[digest[0] % _BUCKETS].write(digest)

    def doubled(self) -> set[bytes]:
        twice: set[bytes] = set()
        for file in self._files:
            file.seek(0)
            seen: set[bytes] = set()
            while digest := file.read(_DIGEST_BYTES):
                (twice if digest in seen else seen).add(digest)
        return twice


def _digest(key: Key) -> bytes:
    return hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def verify(out: Path, *, progress: Callable[[int], None] | None = None) -> Verdict:
    """Compares an output with what it says of itself. Raises ConfigError where there is no output at all.

    `progress` is called with the number of records after each shard.
    """
    if not (out / naming.MANIFEST).exists() and not is_begun(out):
        raise ConfigError(f"{out}: there is no output here; run a harvest with output.url = {out} first")
    return _Verifier(out, progress or (lambda records: None)).run()


class _Verifier:
    def __init__(self, out: Path, progress: Callable[[int], None]) -> None:
        self._out = out
        self._progress = progress
        self._verdict = Verdict(out=str(out))

    def _differ(self, kind: str, subject: str, detail: str) -> None:
        self._verdict.differences.append(Difference(kind=kind, subject=subject, detail=detail))

    def run(self) -> Verdict:
        verdict = self._verdict
        try:
            manifest = read_manifest(self._out)
        except (VerificationFailed, StorageError) as error:
            at_work = (
                "a run is at work here; verify when it has ended"
                if is_held(home_of(self._out))
                else str(error)
            )
            self._differ("manifest", naming.MANIFEST, at_work)
            return verdict
        verdict.complete = manifest.complete
        verdict.gaps = len(manifest.gaps)
        self._against_ledger(manifest)
        self._success(manifest)
        self._foreign(manifest)
        self._shards(manifest)
        return verdict

    # --- what is said

    def _success(self, manifest: Manifest) -> None:
        stands = success_stands(self._out)
        if manifest.complete and not stands:
            self._differ(
                "manifest", naming.SUCCESS, "missing, or of another manifest, although all is complete"
            )
        if not manifest.complete and (self._out / naming.SUCCESS).exists():
            self._differ(
                "manifest", naming.SUCCESS, "stands although the manifest says that something is missing"
            )

    def _against_ledger(self, manifest: Manifest) -> None:
        """The manifest is a picture of the ledger. A copy that was made without `_harvest` is judged by its
        manifest, and the verdict says so.
        """
        if not home_of(self._out).exists():
            self._verdict.notes.append("there is no _harvest here: judged by the manifest alone")
            return
        if not is_begun(self._out):
            self._differ("ledger", "_harvest/ledger.sqlite", "is missing; no run can go on without it")
            return
        try:
            with Ledger(home_of(self._out), read_only=True) as ledger:
                known = {shard.path: shard for build in ledger.published() for shard in _told(build)}
                spans = [{"start": iso(span.start), "end": iso(span.end)} for span in ledger.spans()]
        except StorageError as error:
            self._differ("ledger", "_harvest/ledger.sqlite", str(error))
            return
        told = {shard.path: shard for shard in manifest.shards}
        for path in sorted({*known, *told}):
            if path not in told:
                self._differ("ledger", path, "is in the ledger and not in the manifest; run the job again")
            elif path not in known:
                self._differ("ledger", path, "is in the manifest and not in the ledger")
            elif known[path] != told[path]:
                self._differ("ledger", path, "manifest and ledger say different things of it")
        if [{"start": span.start, "end": span.end} for span in manifest.spans] != spans:
            self._differ("ledger", "spans", "manifest and ledger name different spans; run the job again")

    def _foreign(self, manifest: Manifest) -> None:
        """Files that a reader of `dt=*/*` would take for output."""
        told = {shard.path for shard in manifest.shards}
        for path in files_of_partitions(self._out):
            if path not in told:
                self._differ("foreign", path, "is not in the manifest; a reader of the folder would see it")

    # --- what is there

    def _shards(self, manifest: Manifest) -> None:
        settings = manifest.job.get("settings", {})
        try:
            reading = manifest.job.get("reading", {})
            read, self._identity = dialects.row_reader(reading), dialects.identity_of(reading)
            time_zone = ZoneInfo(str(settings["time_zone"]))
            by: Literal["day", "month"] = "month" if settings["partition_by"] == "month" else "day"
        except (KeyError, ValueError, ConfigError) as error:
            self._differ("manifest", "job.settings", f"cannot be understood: {error}")
            return
        with tempfile.TemporaryDirectory(prefix="harvester-verify-") as folder, _Keys(Path(folder)) as keys:
            counted: dict[str, int] = {}
            last: dict[str, tuple[datetime, Key]] = {}
            readable: list[ManifestShard] = []
            for shard in manifest.shards:
                if self._file(shard):
                    readable.append(shard)
                    partition = partition_named(shard.partition, by, time_zone)
                    counted[shard.partition] = counted.get(shard.partition, 0) + self._records(
                        shard, partition, read, keys, last
                    )
                self._progress(self._verdict.records)
            self._counts(manifest, counted)
            self._doubled(keys.doubled(), readable, read)

    def _file(self, shard: ManifestShard) -> bool:
        """Whether the file can be read on; size and digest are judged here."""
        path = self._out / shard.path
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
        except FileNotFoundError:
            self._differ("missing", shard.path, f"{shard.records} records are gone with it")
            return False
        except OSError as error:
            self._differ("unreadable", shard.path, str(error.strerror))
            return False
        self._verdict.shards += 1
        self._verdict.bytes += size
        if size != shard.bytes:
            self._differ("size", shard.path, f"{shard.bytes} bytes in the manifest, {size} on disk")
        if digest != shard.sha256:
            self._differ("sha256", shard.path, f"{shard.sha256} in the manifest, {digest} on disk")
        return True

    def _records(
        self,
        shard: ManifestShard,
        partition: Partition,
        read: _Read,
        keys: _Keys,
        last: dict[str, tuple[datetime, Key]],
    ) -> int:
        inside = Span(start=partition.start, end=partition.end)
        records = raw_bytes = 0
        named = _Named(self._differ)
        first: datetime | None = None
        before = last.get(shard.partition)
        try:
            for number, line in enumerate(read_lines(self._out / shard.path), start=1):
                records += 1
                raw_bytes += len(line) + 1
                row = _row(read, line)
                if row is None:
                    named.differ("unreadable", f"{shard.path}:{number}", "is no record of this dialect")
                    continue
                moment, key = row[0], row[1]
                keys.add(self._identity(row))
                first = first or moment
                if not inside.contains(moment):
                    named.differ(
                        "partition",
                        f"{shard.path}:{number}",
                        f"key {key!r} of {iso(moment)} belongs elsewhere",
                    )
                if before is not None and (moment, key) < before:
                    named.differ(
                        "order", f"{shard.path}:{number}", f"key {key!r} stands behind a later record"
                    )
                before = (moment, key)
        except StorageError as error:
            self._differ("unreadable", shard.path, str(error))
        named.close(shard.path)
        if before is not None:
            last[shard.partition] = before
        self._verdict.records += records
        if records != shard.records:
            self._differ(
                "count", shard.path, f"{shard.records} records in the manifest, {records} in the file"
            )
        if raw_bytes != shard.raw_bytes:
            self._differ(
                "size", shard.path, f"{shard.raw_bytes} raw bytes in the manifest, {raw_bytes} in the file"
            )
        if (
            first is not None
            and before is not None
            and (iso(first), iso(before[0])) != (shard.first, shard.last)
        ):
            self._differ(
                "count",
                shard.path,
                f"{shard.first} to {shard.last} in the manifest, "
                f"{iso(first)} to {iso(before[0])} in the file",
            )
        return records

    def _counts(self, manifest: Manifest, counted: dict[str, int]) -> None:
        self._verdict.partitions = len(manifest.partitions)
        for partition in manifest.partitions:
            found = counted.get(partition.partition, 0)
            if found != partition.records:
                self._differ(
                    "count",
                    naming.folder(partition.partition),
                    f"{partition.records} records in the manifest, {found} in its files",
                )
        if manifest.records != sum(partition.records for partition in manifest.partitions):
            self._differ("count", naming.MANIFEST, "its total is not the sum of its partitions")

    def _doubled(self, digests: set[bytes], shards: list[ManifestShard], read: _Read) -> None:
        """Names the keys that stand more than once, and where; read again only when there are any."""
        if not digests:
            return
        places: dict[Key, list[str]] = {}
        for shard in shards:
            try:
                for number, line in enumerate(read_lines(self._out / shard.path), start=1):
                    row = _row(read, line)
                    if (
                        row is not None
                        and _digest(same := self._identity(row)) in digests
                        and (same in places or len(places) < _NAMED_AT_MOST)
                    ):
                        places.setdefault(same, []).append(f"{shard.path}:{number}")
            except StorageError:
                continue  # told already
        for key, where in places.items():
            self._differ("doubled", repr(key), f"stands {len(where)} times: {', '.join(where[:4])}")
        if len(digests) > len(places):
            self._differ(
                "doubled", "more keys", f"{len(digests) - len(places)} further keys stand more than once"
            )


class _Named:
    """Lists the first differences of each kind and counts the rest: a broken shard gives no million lines."""

    def __init__(self, differ: Callable[[str, str, str], None]) -> None:
        self._differ = differ
        self._counts: dict[str, int] = {}

    def differ(self, kind: str, subject: str, detail: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= _NAMED_AT_MOST:
            self._differ(kind, subject, detail)

    def close(self, path: str) -> None:
        for kind, number in self._counts.items():
            if number > _NAMED_AT_MOST:
                self._differ(kind, path, f"{number - _NAMED_AT_MOST} further records of the same kind")


def _row(read: _Read, line: bytes) -> Row | None:
    try:
        return read(line)
    except ValueError:
        return None


def _told(build: Build) -> Iterator[ManifestShard]:
    for receipt in build.receipts:
        yield ManifestShard(
            path=receipt.path,
            partition=build.partition,
            records=receipt.records,
            bytes=receipt.size_bytes,
            raw_bytes=receipt.raw_bytes,
            sha256=receipt.sha256,
            first=iso(receipt.first),
            last=iso(receipt.last),
        )
