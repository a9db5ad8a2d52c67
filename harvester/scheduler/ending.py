"""How a run ended: the manifest is written, whatever happened, and what stands is counted and judged."""

from dataclasses import dataclass
from datetime import datetime

from harvester import errors
from harvester.errors import HarvesterError, SourceError, StorageError
from harvester.events import Emit
from harvester.job import Job, Outcome
from harvester.ledger import Gap
from harvester.output import Output
from harvester.scheduler.asked import Asked, look_at_clock
from harvester.scheduler.storing import Tally
from harvester.windows import Span


@dataclass(slots=True)
class Stopped:
    """What ended a run before all was asked for, if anything did."""

    fatal: BaseException | None = None
    drain_reason: str | None = None


def end(
    output: Output,
    job: Job,
    asked: Asked,
    tally: Tally,
    stopped: Stopped,
    *,
    windows_total: int,
    now: datetime,
    repair: bool,
    emit: Emit,
) -> Outcome:
    """Blocks. An error of the disk on the way is told in the outcome, as the run's own where it had none."""
    try:
        look_at_clock(output.ledger, now=now, emit=emit)
        if not output.is_told():
            output.write_manifest()
    except StorageError as error:
        stopped.fatal = stopped.fatal or error
    ledger = output.ledger
    counts = ledger.counts(job.span)
    records = 0
    try:
        records = output.records_in(job.span)
    except (StorageError, ValueError) as error:
        stopped.fatal = stopped.fatal or error
    gaps = asked.gaps()
    if stopped.drain_reason is None and stopped.fatal is None:
        gaps = sorted([*gaps, *asked.not_begun(gaps)], key=lambda gap: gap.start)
    status, exit_code, message = _verdict(stopped, gaps, asked.unpublished())
    return Outcome(
        status=status,
        exit_code=exit_code,
        error=message,
        out=job.output.url,
        windows_total=windows_total,
        windows_done=max(0, windows_total - asked.todo()),
        windows_failed=counts.failed,
        gaps=gaps,
        records=records,
        records_written=tally.records_written,
        duplicates_dropped=tally.duplicates,
        outside_window_dropped=tally.outside,
        bytes_written=output.bytes_written,
        shards=sum(len(build.receipts) for build in ledger.published()),
        repaired=output.repaired() if repair else None,
        foreign=output.strangers if repair else None,
    )


def _verdict(stopped: Stopped, gaps: list[Gap], unpublished: list[Span]) -> tuple[str, int, str | None]:
    fatal = stopped.fatal
    if isinstance(fatal, HarvesterError):
        return fatal.status, fatal.exit_code, str(fatal)
    if fatal is not None:
        return "error", HarvesterError.exit_code, f"{type(fatal).__name__}: {fatal}"
    if not unpublished:
        return "complete", errors.EXIT_COMPLETE, None
    if stopped.drain_reason == "time budget":
        return "time_budget", errors.EXIT_TIME_BUDGET, "the time given is used up; run again to go on"
    if stopped.drain_reason is not None:
        return "interrupted", errors.EXIT_INTERRUPTED, "stopped before the end; run again to go on"
    return "gaps", SourceError.exit_code, f"{len(gaps)} window(s) not proven; run again to fill them"
