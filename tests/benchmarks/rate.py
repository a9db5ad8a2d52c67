"""How much of a limited rate is used and how many answers are 429, judged by the server's clock from the
first request to the last, over real sockets.

Each cell is a server of its own that lets R requests a second through with a burst of b and sends the rest
away with 429 and a `Retry-After` of 1 s, and one whole run in pages of two records that --max-duration ends.
What may be learned in the first 30 s is told, not judged.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.checks import Wrong
from tests.benchmarks.measure import clean, tail
from tests.benchmarks.server import serving

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
PER_HOUR: Final = 10
LEARNING_S: Final = 30.0
JUDGED_S: Final = 60.0
TIME_IS_UP: Final = 10
AT_ONCE_PER_S: Final = 220.0
"""Cells run side by side as far as this many requests a second; more would measure the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    rate: float
    burst: int
    is_told: bool
    """The job names the rate."""

    @property
    def name(self) -> str:
        return f"R={self.rate:g} b={self.burst} {'configured' if self.is_told else 'learned'}"

    @property
    def unjudged_s(self) -> float:
        return 0.0 if self.is_told else LEARNING_S

    @property
    def least_used(self) -> float:
        if self.burst == 1:
            return 0.80
        return 0.96 if self.is_told else 0.88

    @property
    def most_refused(self) -> float:
        if self.burst == 1:
            return 0.005
        return 0.002 if self.is_told else 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    cell: Cell
    used: float
    """Of R requests in each second."""
    refused: float
    """Of the answers."""
    refused_before: int
    """429s in the time that is not judged."""


CELLS: Final = [
    *(
        Cell(rate=rate, burst=burst, is_told=is_told)
        for rate in (5, 20, 200)
        for burst in (2, 5, 20)
        for is_told in (True, False)
    ),
    *(Cell(rate=rate, burst=1, is_told=is_told) for rate in (5, 20, 50) for is_told in (True, False)),
]


def judged(cell: Cell, entries: Sequence[Mapping[str, Any]]) -> Found:
    """From the server's log of requests, in the order in which they came."""
    since_s = entries[0]["at_s"] + cell.unjudged_s
    late = [entry for entry in entries if entry["at_s"] >= since_s and "status" in entry]
    elapsed_s = late[-1]["at_s"] - (late[0]["at_s"] if cell.is_told else since_s)
    refused = sum(entry["status"] == 429 for entry in late)
    return Found(
        cell=cell,
        used=(len(late) - refused) / (elapsed_s * cell.rate),
        refused=refused / len(late),
        refused_before=sum(entry.get("status") == 429 for entry in entries) - refused,
    )


def measured(cell: Cell, folder: Path, *, scale: float) -> Found:
    """Raises Wrong where the run ends otherwise than by time."""
    judged_s = JUDGED_S * scale
    duration_s = cell.unjudged_s + judged_s
    place = folder / cell.name.replace(" ", "-")
    place.mkdir()
    fault = f"rate={cell.rate},burst={cell.burst},retry_after=1"
    hours = round(cell.rate * 3 * (duration_s + 10) / PER_HOUR) + 1
    end = START + timedelta(hours=hours)
    flags = ["--slim", "--rhythm", "flat", "--cluster", "1", "--fault", fault]
    with serving(folder, records=hours * PER_HOUR, end=end.isoformat(), flags=flags) as server:
        told = f"requests_per_second = {float(cell.rate)}" if cell.is_told else ""
        (place / "job.toml").write_text(
            f'[source]\ndialect = "interactions"\nbase_url = "{server.url}"\n'
            f'[span]\nstart = {START.isoformat()}\nend = {end.isoformat()}\nresolution = "Hour"\n'
            f'[fetch]\npage_size = 2\n{told}\n[output]\nurl = "{place / "out"}"\n'
        )
        command = [sys.executable, "-m", "harvester", "run", str(place / "job.toml")]
        with (place / "said").open("wb") as said:
            code = subprocess.call(
                [*command, "--max-duration", f"{duration_s:g}"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=clean(server.environ),
            )
        if code != TIME_IS_UP:
            raise Wrong(f"{cell.name}: the run ended with {code}: {tail(place / 'said')}")
        return judged(cell, server.requests())


def batches(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Those that may run side by side."""
    batch: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: cell.rate):
        if batch and (sum(one.rate for one in batch) + cell.rate > AT_ONCE_PER_S or len(batch) == 4):
            yield batch
            batch = []
        batch.append(cell)
    if batch:
        yield batch


def measured_in_turn(cells: Sequence[Cell], folder: Path, *, scale: float) -> Iterator[Found]:
    for batch in batches(cells):
        with ThreadPoolExecutor(len(batch)) as pool:
            yield from pool.map(lambda cell: measured(cell, folder, scale=scale), batch)
