"""What the shards room is asked for (OutputSettings) and what it hands on (Receipt)."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from harvester.shapes import EMPTY, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Where and how records are kept. All but `url` decide the bytes, so all but `url` are part of the
    job.
    """

    url: str
    """A directory."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    compression: str = "zstd"
    """zstd (level 1), gzip or none; of Parquet always zstd."""
    partition_by: Literal["day", "month"] = "day"
    """day or month, in the job's time zone."""
    shard_bytes: int = 134_217_728
    """Most uncompressed bytes in a shard; one record larger than that is a shard by itself. 128 MiB keeps
    files near what Spark and duckdb read as one split, and bounds what a kill can cost."""
    pseudonymise: tuple[str, ...] = ()
    timestamps: Literal["typed", "string"] = "typed"
    """Of Parquet. typed: instants of UTC in microseconds; string: the text that the source sent."""
    columns: Shape = EMPTY
    """Of Parquet: what is declared of the records. What they hold beyond it widens it."""

    @property
    def folder(self) -> Path:
        return Path(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A sealed shard: its data is on disk, synced, and never changes again."""

    path: str
    """Relative to the output folder, with forward slashes."""
    records: int
    size_bytes: int
    """On disk."""
    raw_bytes: int
    """Uncompressed, line ends included."""
    sha256: str
    first: datetime
    last: datetime
    lines: "Receipt | None" = None
    """Where the file holds columns: the sealed lines that it was made of, while they are still needed."""

    @property
    def of_lines(self) -> "Receipt":
        """The file to make another generation of."""
        return self.lines or self
