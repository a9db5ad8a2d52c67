"""What the manifest tells of a ledger: the same ledger gives the same manifest."""

from zoneinfo import ZoneInfo

from harvester.ledger import Build, Ledger
from harvester.output.manifest import (
    FORMAT_VERSION,
    Manifest,
    ManifestPartition,
    ManifestShard,
    ManifestSpan,
    gaps_of,
    iso,
    job_of,
    sum_of,
)
from harvester.windows import By, Span, partition_named


def shards_of(build: Build) -> list[ManifestShard]:
    return [
        ManifestShard(
            path=receipt.path,
            partition=build.partition,
            records=receipt.records,
            bytes=receipt.size_bytes,
            raw_bytes=receipt.raw_bytes,
            sha256=receipt.sha256,
            first=iso(receipt.first),
            last=iso(receipt.last),
        )
        for receipt in build.receipts
    ]


def picture(ledger: Ledger, by: By, time_zone: ZoneInfo) -> Manifest:
    spans = ledger.spans()
    open_spans = [part for span in spans for part in ledger.unpublished(span)]
    partitions: list[ManifestPartition] = []
    shards: list[ManifestShard] = []
    for build in ledger.published():
        whole = partition_named(build.partition, by, time_zone)
        partitions.append(
            ManifestPartition(
                partition=build.partition,
                complete=not ledger.unpublished(Span(start=whole.start, end=whole.end)),
                records=sum(receipt.records for receipt in build.receipts),
                generation=build.generation or 1,
                second_key_shared=build.second_key_shared,
            )
        )
        shards += shards_of(build)
    return Manifest(
        format_version=FORMAT_VERSION,
        job=job_of(ledger.job() or {}, ledger.reading()),
        spans=[ManifestSpan(start=iso(span.start), end=iso(span.end)) for span in spans],
        complete=bool(spans) and not open_spans and not ledger.unfinished(),
        records=sum(partition.records for partition in partitions),
        second_key_shared=sum_of(one.second_key_shared for one in partitions if one.records),
        gaps=gaps_of(open_spans, [*ledger.gaps(), *ledger.staged()]),
        partitions=partitions,
        shards=shards,
    )
