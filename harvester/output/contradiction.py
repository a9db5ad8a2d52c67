"""Whether a manifest contradicts itself: much of what it tells is told twice, so one changed value shows.

What shows in no other place are the times of a gap, and of a span's end, inside a partition that is not
whole.
"""

from collections import Counter
from itertools import pairwise

from harvester import windows
from harvester.output.manifest import Manifest, calendar_of, job_of, span_of, sum_of
from harvester.windows import Span, merge, partition_named, subtract


def contradiction(manifest: Manifest) -> str | None:
    """The key that does not fit; None where all of them do, or where it cannot be understood at all."""
    try:
        return _contradiction(manifest)
    except (KeyError, TypeError, ValueError):
        return None


def _contradiction(manifest: Manifest) -> str | None:
    if manifest.job != job_of(manifest.job["settings"], manifest.job["reading"]):
        return "job"
    partitions, records = {one.partition: one for one in manifest.partitions}, Counter[str]()
    for shard in manifest.shards:
        records[shard.partition] += shard.records
    if len(partitions) < len(manifest.partitions) or {*records} - {*partitions}:
        return "partitions"
    if any(one.records != records[one.partition] or one.generation < 1 for one in manifest.partitions):
        return "partitions"
    if manifest.records != sum(one.records for one in manifest.partitions):
        return "records"
    shared = sum_of(one.second_key_shared for one in manifest.partitions if one.records)
    if manifest.second_key_shared != shared:
        return "second_key_shared"
    if manifest.complete and (manifest.gaps or not manifest.spans):
        return "complete"
    spans, gaps = [span_of(span) for span in manifest.spans], [span_of(gap) for gap in manifest.gaps]
    if any(subtract(gap, spans) for gap in gaps) or merge(spans) != spans:
        return "spans"
    if any(one.end > other.start for one, other in pairwise(gaps)):
        return "gaps"
    by, time_zone = calendar_of(manifest)
    proven = [part for span in spans for part in subtract(span, gaps)]
    for one in manifest.partitions:
        whole = partition_named(one.partition, by, time_zone)
        if one.complete == bool(subtract(Span(start=whole.start, end=whole.end), proven)):
            return "partitions"
    touched = {one.name for part in proven for one in windows.partitions(part, by, time_zone)}
    return "partitions" if touched - {*partitions} else None
