"""What a run would ask: windows exactly, records, requests, bytes and time as ranges with what they assume.

It reads the ledger where there is one, and nothing else: no connection is made, no file created. The better
the output is known the narrower the ranges: a day that was harvested tells how many records an hour brings.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import ceil
from typing import Any, Final

from harvester.job import Job
from harvester.ledger import Ledger, home_of, is_begun
from harvester.output.soundness import check_ledger_is_there
from harvester.scheduler.planning import LOT_WINDOWS, is_read_by_time
from harvester.windows import Resolution, Span, count_windows

RECORD_BYTES: Final = 3000
"""An interaction is 3 KB of JSON; of other datasets the ledger knows better once a little was harvested."""
SMALLEST_SHARE: Final = 0.1
"""Compressed answers are a tenth of the JSON that is in them."""
LATENCY_S: Final = (0.1, 1.0)
RECORDS_PER_S: Final = (50_000, 10_000)
"""What one core takes in at most: from a fast network and from a slow one."""
_HOUR_S: Final = 3600
SPREAD: Final = (0.5, 2.0)
"""How far the span may be off from what the ledger has seen elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger tells; all zero where no harvest was begun."""

    covered_s: float = 0.0
    records: int = 0
    raw_bytes: int = 0
    rate: float | None = None

    @property
    def records_per_s(self) -> float | None:
        """Of recorded time, not of running time."""
        return self.records / self.covered_s if self.covered_s else None

    @property
    def record_bytes(self) -> float:
        return self.raw_bytes / self.records if self.records and self.raw_bytes else RECORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    begun: bool
    """Whether the output has a ledger."""
    windows: int
    windows_done: int
    windows_to_ask: int
    records: Range
    requests: Range
    bytes: Range
    time_s: Range
    assumptions: list[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(job: Job, *, expected_records: int | None = None) -> Plan:
    """`expected_records` in the whole span, where the user knows. Raises OtherJob where the output is
    another job's, StorageError where its ledger is lost or cannot be read.
    """
    check_ledger_is_there(job.output.folder)
    begun = is_begun(job.output.folder)
    missing, known = [job.span], Known()
    if begun:
        with Ledger(home_of(job.output.folder), read_only=True) as ledger:
            if ledger.job() is not None:
                ledger.adopt_job(job.fingerprint)
            missing, known = ledger.missing(job.span), known_of(ledger)
    return estimate(job, missing, known, begun=begun, expected_records=expected_records)


def known_of(ledger: Ledger) -> Known:
    """Raises StorageError as the ledger does."""
    spans = ledger.spans()
    asked_s = sum(_seconds(span) for span in spans)
    open_s = sum(_seconds(part) for span in spans for part in ledger.missing(span))
    receipts = [receipt for build in ledger.published() for receipt in build.receipts]
    return Known(
        covered_s=asked_s - open_s,
        records=ledger.counts().records,
        raw_bytes=sum(receipt.raw_bytes for receipt in receipts),
        rate=_rate(ledger.learned()),
    )


def _rate(learned: Mapping[str, Any]) -> float | None:
    rate = learned.get("rate")
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def estimate(
    job: Job, missing: list[Span], known: Known, *, begun: bool, expected_records: int | None = None
) -> Plan:
    """Pure. `missing` are the stretches of the job's span that are not proven yet."""
    total = count_windows(job.span, job.resolution, job.time_zone)
    to_ask = sum(count_windows(part, job.resolution, job.time_zone) for part in missing)
    assumptions: list[str] = []
    records = _records(job, missing, to_ask, known, expected_records, assumptions)
    requests = _requests(job, records, to_ask, assumptions)
    share = ceil(known.record_bytes)
    assumptions.append(
        f"bytes: {share:,} per record as JSON{'' if known.raw_bytes else ', as an interaction has'}; "
        f"least where the server compresses to {SMALLEST_SHARE:.0%} of that, most where it does not"
    )
    return Plan(
        begun=begun,
        windows=total,
        windows_done=max(0, total - to_ask),
        windows_to_ask=to_ask,
        records=records,
        requests=requests,
        bytes=Range(least=round(records.least * share * SMALLEST_SHARE), most=round(records.most * share)),
        time_s=_time(job, records, requests, known, assumptions),
        assumptions=assumptions,
    )


def _records(
    job: Job, missing: list[Span], to_ask: int, known: Known, expected: int | None, assumptions: list[str]
) -> Range:
    missing_s = sum(map(_seconds, missing))
    if not to_ask:
        assumptions.append("records: everything in the span is there already")
        return Range(least=0, most=0)
    if expected is not None:
        here = round(expected * missing_s / _seconds(job.span))
        assumptions.append(f"records: {expected:,} in the whole span, as --records says, spread evenly")
        return Range(least=here, most=here)
    if known.records_per_s is not None:
        assumptions.append(
            f"records: half to twice the {known.records_per_s * 3600:,.0f} an hour this output has so far"
        )
        likely = known.records_per_s * missing_s
        return Range(least=round(likely * SPREAD[0]), most=round(likely * SPREAD[1]))
    assumptions.append(
        "records: nobody knows yet, so from none to one full page an hour, or a window if that is shorter; "
        "give --records N, or harvest a day first"
    )
    return Range(least=0, most=max(to_ask, ceil(missing_s / _HOUR_S)) * job.page_size)


def _requests(job: Job, records: Range, to_ask: int, assumptions: list[str]) -> Range:
    """Each window is asked at least once; each page after the first repeats one record of the one before."""
    if job.dialect.paging == "none":
        assumptions.append("requests: one a window, this source has no pages")
        return Range(least=to_ask, most=to_ask)
    if job.resolution is Resolution.AUTO:
        assumptions.append(
            f"requests: one per {job.page_size:,} records, since windows size themselves; at most "
            "a quarter more and one for each day; no retries"
        )
        least = max(min(1, to_ask), ceil(records.least / job.page_size))
        return Range(least=least, most=ceil(1.25 * records.most / job.page_size) + to_ask)
    new_per_page = max(1, job.page_size - 1)
    together = LOT_WINDOWS if is_read_by_time(job.dialect, job.page_size) else 1
    few = "one a window" if together == 1 else f"one for {together} windows as long as nothing is in them"
    assumptions.append(
        f"requests: at least {few}, and one per {new_per_page:,} records; "
        "at most one more a window, to prove its end; no retries"
    )
    least = max(ceil(to_ask / together), ceil(records.least / new_per_page))
    return Range(least=least, most=2 * to_ask + records.most // new_per_page if to_ask else 0)


def _time(job: Job, records: Range, requests: Range, known: Known, assumptions: list[str]) -> Range:
    concurrency, rate = job.transport.concurrency, job.transport.requests_per_second or known.rate
    limit = f"{rate:g} requests a second" if rate else "no limit of the server's"
    assumptions.append(
        f"time: {concurrency} requests in flight, {LATENCY_S[0]:g} to {LATENCY_S[1]:g} s each, {limit}, "
        f"{RECORDS_PER_S[0]:,} to {RECORDS_PER_S[1]:,} records a second on one core"
    )

    def seconds(asked: float, brought: float, latency_s: float, records_per_s: float) -> float:
        in_turn = asked * latency_s / concurrency
        paced = asked / rate if rate else 0.0
        return float(round(max(in_turn, paced, brought / records_per_s), 1))

    return Range(
        least=seconds(requests.least, records.least, LATENCY_S[0], RECORDS_PER_S[0]),
        most=seconds(requests.most, records.most, LATENCY_S[1], RECORDS_PER_S[1]),
    )


def _seconds(span: Span) -> float:
    return (span.end - span.start) / timedelta(seconds=1)
