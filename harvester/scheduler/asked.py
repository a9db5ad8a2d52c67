"""What a run asks for: the span of its job, and partitions of the output that have to be fetched again."""

from harvester import windows
from harvester.job import Job
from harvester.ledger import Ledger
from harvester.windows import Span


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

    def total(self) -> int:
        """Windows in all, done ones included."""
        return self._count(self.spans)

    def todo(self) -> int:
        return self._count(self.missing())

    def _count(self, spans: list[Span]) -> int:
        job = self._job
        return sum(windows.count_windows(span, job.resolution, job.time_zone) for span in spans)
