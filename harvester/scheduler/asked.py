"""What a run asks for: the span of its job, and partitions of the output that have to be fetched again."""

from datetime import datetime, timedelta
from typing import Final

from harvester import windows
from harvester.events import ClockWentBack, Emit
from harvester.job import Job
from harvester.ledger import Gap, Ledger
from harvester.windows import Span

NOT_BEGUN: Final = "lies in the future; run again when it is over"
DOUBT: Final = timedelta(days=1)
"""How far back nothing is believed that was over by a clock that ran ahead: more than clocks are wrong by."""
_STEP: Final = timedelta(seconds=2)
"""Less is no step, but two machines."""


def begin(job: Job, ledger: Ledger, *, now: datetime, emit: Emit) -> "Asked":
    """From now on the ledger knows the job's span, and what it calls proven is proven by today's clock."""
    look_at_clock(ledger, now=now, emit=emit)
    ledger.extend(job.span)
    return Asked(job, ledger)


def look_at_clock(ledger: Ledger, *, now: datetime, emit: Emit) -> None:
    """Takes back windows that had been over for less than a day, where a run before saw a later time: its
    clock ran ahead, or ours is behind, and then they are asked for once more in vain.
    """
    seen = ledger.seen()
    if seen is None or now >= seen - _STEP:
        ledger.see(now)
        return
    doubted = ledger.see(now, doubted_since=min(seen, now) - DOUBT)
    emit(ClockWentBack(seen=seen, now=now, windows=doubted))


class Asked:
    """`spans` are in order and do not touch; made once the ledger knows the job's span."""

    def __init__(self, job: Job, ledger: Ledger) -> None:
        again = [
            part
            for name in ledger.void_partitions()
            for partition in [job.partition_named(name)]
            for span in ledger.spans()
            if (part := span.overlap(Span(start=partition.start, end=partition.end)))
        ]
        self.spans = windows.merge([job.span, *again])
        self._job = job
        self._ledger = ledger

    def missing(self) -> list[Span]:
        return [part for span in self.spans for part in self._ledger.missing(span)]

    def unpublished(self) -> list[Span]:
        """What readers cannot rely on yet: missing, or sealed and not published."""
        return [part for span in self.spans for part in self._ledger.unpublished(span)]

    def gaps(self) -> list[Gap]:
        return [gap for span in self.spans for gap in self._ledger.gaps(span)]

    def not_begun(self, gaps: list[Gap]) -> list[Gap]:
        """What is missing beside `gaps` after a run that left nothing out: the future."""
        told = [Span(start=gap.start, end=gap.end) for gap in gaps]
        left = [rest for part in self.missing() for rest in windows.subtract(part, told)]
        return [Gap(start=rest.start, end=rest.end, error=NOT_BEGUN) for rest in left]

    def total(self) -> int:
        """Windows in all, done ones included."""
        return self._count(self.spans)

    def todo(self) -> int:
        return self._count(self.missing())

    def _count(self, spans: list[Span]) -> int:
        job = self._job
        return sum(windows.count_windows(span, job.resolution, job.time_zone) for span in spans)
