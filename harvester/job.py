"""What a harvest is told, and how it ended: values that the scheduler shares with those who call it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from harvester.dialects import Ask, Dialect, Page, Request
from harvester.errors import ConfigError
from harvester.events import Emit
from harvester.ledger import Gap
from harvester.pages import Read
from harvester.pseudonyms import Pseudonyms, veiled
from harvester.shards import OutputSettings
from harvester.transport import Answer, Layer, TransportSettings
from harvester.windows import Partition, Resolution, Span, partition_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a harvest needs to know, validated."""

    dialect: Dialect
    span: Span
    time_zone: ZoneInfo
    resolution: Resolution
    page_size: int
    transport: TransportSettings
    output: OutputSettings
    pseudonyms: Pseudonyms | None = None
    """Replaces the fields of `output.pseudonymise`; None where there are none, or for who asks nothing."""
    fingerprint: Mapping[str, Any]
    """What makes it this job: settings by name, no secrets. Another one on the same output is refused."""

    def reading(self, dialect: Dialect, inner: Layer[Request, Answer], emit: Emit) -> Layer[Ask, Page]:
        """How pages are read by who keeps or compares records: never without the pseudonyms. `dialect` is the
        job's, perhaps in another order."""
        if self.output.pseudonymise and self.pseudonyms is None:
            raise ConfigError("output.pseudonymise: the job came without its key; nothing was asked")
        return veiled(Read(dialect, inner, emit=emit), dialect, self.pseudonyms)

    def partition_named(self, name: str) -> Partition:
        return partition_named(name, self.output.partition_by, self.time_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended; counts of requests and bytes are telemetry's."""

    status: str
    exit_code: int
    out: str
    error: str | None = None
    windows_total: int = 0
    """Windows of the span, those that earlier runs proved included."""
    windows_done: int = 0
    windows_failed: int = 0
    gaps: list[Gap] = field(default_factory=list)
    records: int = 0
    """Now in the output for the span."""
    records_written: int = 0
    duplicates_dropped: int = 0
    outside_window_dropped: int = 0
    bytes_written: int = 0
    shards: int = 0
    repaired: list[str] | None = None
    """Partitions that were damaged and have a new generation; None where no repair was asked for."""
    foreign: list[str] | None = None
    """Files among the shards that are not ours; None where no repair was asked for."""
