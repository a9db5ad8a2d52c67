"""The manifest, `OUT/_manifest.json`: what the output holds, for readers; and `_SUCCESS`, which vouches for
it.

It is a picture of the ledger. The same ledger gives the same bytes: it holds no clock, no host and no secret.
Its last key is a digest of all its bytes: where the ledger is lost, nothing else tells of what was never
asked for, and a gap that a flipped bit has moved would look like any other.
"""

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import orjson

from harvester.ledger import Gap
from harvester.shards import naming
from harvester.shards.disk import Disk, plain
from harvester.windows import By, Span

FORMAT_VERSION: Final = 1
NOT_ASKED: Final = "not asked yet"
_BLANK: Final = "0" * 64


class ManifestGap(msgspec.Struct, kw_only=True, frozen=True):
    start: str
    end: str
    error: str


class ManifestSpan(msgspec.Struct, kw_only=True, frozen=True):
    start: str
    end: str


class ManifestPartition(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    partition: str
    complete: bool
    """The whole day or month is proven, not just the part of it that a span touched."""
    records: int
    generation: int
    second_key_shared: int | None = None
    """Records of this partition that share the dialect's second key with another one of it under another key.
    All of them are there. Not told where nobody counted."""


class ManifestShard(msgspec.Struct, kw_only=True, frozen=True):
    path: str
    partition: str
    records: int
    bytes: int
    raw_bytes: int
    sha256: str
    first: str
    last: str


class Manifest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    format_version: int
    job: dict[str, Any]
    spans: list[ManifestSpan]
    complete: bool
    """Everything that was ever asked of this output is proven."""
    records: int
    gaps: list[ManifestGap]
    partitions: list[ManifestPartition]
    shards: list[ManifestShard]
    second_key_shared: int | None = None
    """The sum over the partitions; not told where one of them was not counted."""
    digest: str | None = None
    """SHA-256 of the file's bytes with these 64 digits as zeros. None before it is encoded, and in manifests
    of versions that wrote none."""


def sum_of(counts: Iterable[int | None]) -> int | None:
    """None where there is nothing to add, or one of them is not known."""
    known = list(counts)
    return sum(filter(None, known)) if known and None not in known else None


def iso(moment: datetime) -> str:
    """`2024-01-01T00:00:00.000Z`; microseconds where there are any."""
    return moment.isoformat(timespec="microseconds" if moment.microsecond % 1000 else "milliseconds").replace(
        "+00:00", "Z"
    )


def span_of(told: ManifestSpan | ManifestGap) -> Span:
    """ValueError where its ends are no times, or in the wrong order."""
    return Span(start=datetime.fromisoformat(told.start), end=datetime.fromisoformat(told.end))


def job_of(fingerprint: dict[str, Any], reading: dict[str, Any]) -> dict[str, Any]:
    """`fingerprint` is the digest of `settings`; `reading` says how the lines are to be read."""
    digest = hashlib.sha256(orjson.dumps(fingerprint, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return {"fingerprint": digest, "settings": fingerprint, "reading": reading}


def gaps_of(open_spans: Iterable[Span], failed: Iterable[Gap]) -> list[ManifestGap]:
    """Every stretch that is not proven: windows that failed with their error, the rest as not asked yet."""
    gaps = [(gap.start, gap.end, gap.error) for gap in failed]
    for span in open_spans:
        start = span.start
        for gap in sorted(gap for gap in gaps if gap[0] < span.end and gap[1] > span.start):
            if start < gap[0]:
                gaps.append((start, gap[0], NOT_ASKED))
            start = max(start, gap[1])
        if start < span.end:
            gaps.append((start, span.end, NOT_ASKED))
    return [ManifestGap(start=iso(start), end=iso(end), error=error) for start, end, error in sorted(gaps)]


def calendar_of(manifest: Manifest) -> tuple[By, ZoneInfo]:
    """How the output is partitioned; KeyError, TypeError or ValueError where its job does not say."""
    settings = manifest.job["settings"]
    return "month" if settings["partition_by"] == "month" else "day", ZoneInfo(str(settings["time_zone"]))


def encode(manifest: Manifest) -> bytes:
    told = msgspec.to_builtins(msgspec.structs.replace(manifest, digest=_BLANK))
    blank = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return _with_digest(blank, _BLANK, hashlib.sha256(blank).hexdigest())


def _with_digest(content: bytes, there: str, other: str) -> bytes:
    before, _, after = content.rpartition(there.encode())
    return before + other.encode() + after


def digest_holds(manifest: Manifest, content: bytes) -> bool:
    """Whether `content`, of which `manifest` was read, is what was written with its digest."""
    told = manifest.digest or ""
    return (
        len(told) == len(_BLANK)
        and told.isascii()
        and hashlib.sha256(_with_digest(content, told, _BLANK)).hexdigest() == told
    )


def write(disk: Disk, manifest: Manifest) -> None:
    """Manifest first, then `_SUCCESS` if it may stand; a reader never finds a `_SUCCESS` for another
    manifest.
    """
    content = encode(manifest)
    if disk.content(naming.MANIFEST) == content:
        pass  # a manifest that would not change is left alone, its times included
    else:
        withdraw_success(disk)
        disk.replace(naming.MANIFEST, content)
    if manifest.complete:
        vouch = hashlib.sha256(content).hexdigest().encode() + b"\n"
        if not success_stands(disk.root):
            disk.replace(naming.SUCCESS, vouch)
    else:
        withdraw_success(disk)


def withdraw_success(disk: Disk) -> None:
    if disk.remove(naming.SUCCESS):
        disk.sync_folder("")


def success_stands(out: Path) -> bool:
    """Whether `_SUCCESS` holds the digest of the manifest that stands beside it."""
    try:
        return success_of(out) == hashlib.sha256(plain(out / naming.MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return False


def success_is_right(out: Path, *, complete: bool) -> bool:
    """It vouches for the manifest that stands, or there is none where something is missing."""
    return success_stands(out) if complete else not os.path.lexists(out / naming.SUCCESS)


def success_of(out: Path) -> str:
    """What `_SUCCESS` holds; OSError where there is none."""
    return plain(out / naming.SUCCESS).read_text("ascii", errors="replace").strip()
