"""Says of each finding where it stands in the output and what has changed; reads again only the shards that
hold one."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo

from harvester.dialects import Row
from harvester.errors import StorageError
from harvester.output import Manifest, ManifestShard
from harvester.shards import naming, read_lines
from harvester.verify_source.compare import Finding, Newer, changed_fields, joined
from harvester.windows import Window, partition_of

_INSTANT: Final = timedelta(milliseconds=1)
_Place = tuple[datetime, str]
"""A record's time and key: what it is ordered by."""


def told(
    found: Iterable[Finding],
    beyond: Mapping[str, int],
    *,
    out: Path,
    manifest: Manifest,
    read: Callable[[bytes], Row],
    newer: Newer,
) -> tuple[list[Finding], dict[str, int]]:
    """The findings in full, by time, and how many there are of each kind, those `beyond` included."""
    sealed = _Sealed(out, manifest)
    findings = [_late(one, sealed) for one in joined(found, newer)]
    counts = Counter(one.kind for one in findings) + Counter(beyond)
    places = _places(findings, out, manifest.shards, read)
    return [_detailed(one, places.get(_place(one))) for one in findings], dict(counts)


def rows_of(
    out: Path, shards: Iterable[ManifestShard], asked: Sequence[Window], read: Callable[[bytes], Row]
) -> Iterator[tuple[str, Row]]:
    """Each row with `shard:line`, of the shards that may hold some of `asked` (in order). What cannot be read
    is passed over, and so is found missing: `verify` of the files says why."""
    starts = [window.start for window in asked]
    for shard in shards:
        before = bisect_right(starts, datetime.fromisoformat(shard.last))
        if not before or asked[before - 1].end <= datetime.fromisoformat(shard.first):
            continue
        try:
            for number, line in enumerate(read_lines(out / shard.path), start=1):
                try:
                    row = read(line)
                except ValueError:
                    continue
                yield f"{shard.path}:{number}", row
        except StorageError:
            continue


class _Sealed:
    """When the files of a partition were last written; the manifest's own time where it has none."""

    def __init__(self, out: Path, manifest: Manifest) -> None:
        settings = manifest.job.get("settings", {})
        self._zone = ZoneInfo(str(settings.get("time_zone", "UTC")))
        self._by: Literal["day", "month"] = "month" if settings.get("partition_by") == "month" else "day"
        self._at: dict[str, float] = {}
        for shard in manifest.shards:
            if (out / shard.path).exists():
                at = (out / shard.path).stat().st_mtime
                self._at[shard.partition] = max(self._at.get(shard.partition, at), at)
        self._else = (out / naming.MANIFEST).stat().st_mtime

    def at(self, moment: datetime) -> datetime:
        name = partition_of(moment, self._by, self._zone).name
        return datetime.fromtimestamp(self._at.get(name, self._else), self._zone)


def _late(one: Finding, sealed: _Sealed) -> Finding:
    """A missing record that was written after the partition's files were is no loss of the run.

    A copy of the output may have later file times: then such a record is called missing, the safe side.
    """
    if one.kind != "missing":
        return one
    try:
        written = datetime.fromisoformat(one.there or "")
    except ValueError:
        return one
    is_late = written.tzinfo is not None and written > sealed.at(one.time)
    return replace(one, kind="late") if is_late else one


def _place(one: Finding) -> _Place:
    return one.time, repr(one.key)


def _places(
    found: list[Finding], out: Path, shards: list[ManifestShard], read: Callable[[bytes], Row]
) -> dict[_Place, tuple[str, bytes]]:
    """File, line and bytes of the records that are in the output."""
    here = [one for one in found if one.here is not None]
    wanted = {_place(one) for one in here}
    asked = [Window(start=at, end=at + _INSTANT) for at in sorted({one.time for one in here})]
    places: dict[_Place, tuple[str, bytes]] = {}
    if here:
        for place, row in rows_of(out, shards, asked, read):
            at = (row[0], repr(row[1]))
            if at in wanted:
                places.setdefault(at, (place, bytes(row[3])))
    return places


def _detailed(one: Finding, place: tuple[str, bytes] | None) -> Finding:
    words = [place[0]] if place else []
    if one.kind in ("newer", "older"):
        words.append(f"version {one.here or 'none'} in the output, {one.there or 'none'} at the source")
    elif one.kind in ("missing", "late") and one.there:
        words.append(f"version {one.there}")
    elif one.kind == "changed" and place and one.raw:
        words.append(f"differs in {changed_fields(place[1], one.raw)}")
    return replace(one, detail="; ".join(words), raw=b"")
