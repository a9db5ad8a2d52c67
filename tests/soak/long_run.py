"""One process that harvests all the while: what it has published is compared with the truth as it goes, and
what it holds may not grow.
"""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from anyio import to_thread

from harvester.ledger import Ledger, home_of, is_begun
from harvester.shards import read_lines
from harvester.testing.truth import compare, fetch_truth
from harvester.verify import verify
from harvester.windows import Span
from tests.soak.campaigns import JOB
from tests.soak.processes import Run, Server, Usage

FIRST: Final = datetime(2018, 1, 1, tzinfo=UTC)
LAST: Final = "2023-06-24"
"""2,000 days: more than an hour's requests can empty."""
REQUESTS_PER_S: Final = 8.0
WARM_S: Final = 300.0
WARM_SHARE: Final = 0.25
"""What a process holds in its first minutes says little: caches fill, threads begin. Of a short soak the
first quarter is left out."""
GROWTH_MIB: Final = 8.0
"""Of the last third's median over the first third's: the allocator's own moods are less, and 30,000 requests
that each left a kilobyte behind would be more.
"""


class LongRun:
    def __init__(self, server: Server, folder: Path, *, seconds: float) -> None:
        token, job = folder / "token", folder / "job.toml"
        token.write_text(server.token)
        job.write_text(
            JOB.format(
                url=server.url,
                token=token,
                resolution="Hour",
                rate=f"requests_per_second = {REQUESTS_PER_S}",
                shard_bytes=40_000,
            )
        )
        self._server = server
        self.out = folder / "out"
        arguments = [str(job), "--out", str(self.out), "--start", FIRST.date().isoformat(), "--end", LAST]
        self.run = Run([*arguments, "--max-duration", str(seconds), "--quiet"], folder / "log")
        self.samples: list[tuple[float, Usage]] = []
        self.records = 0
        """Compared with the truth so far."""
        self.partitions = 0
        self.gaps = 0
        """Windows that failed on every try; the run does not come back to them."""
        self.wrong: list[str] = []
        self._compared: dict[str, int | None] = {}
        """The generation of each partition that was compared."""

    def sample(self, at_s: float) -> Usage:
        usage = self.run.usage()
        if usage.rss_mib:
            self.samples.append((at_s, usage))
        return usage

    def stop(self) -> None:
        self.run.signal(signal.SIGTERM)

    async def compare(self) -> None:
        """What was published since the last time, partition by partition, while the run goes on."""
        await to_thread.run_sync(self._compare)

    def _compare(self) -> None:
        if not is_begun(self.out):
            return
        with Ledger(home_of(self.out), read_only=True) as ledger:
            self.gaps = len(ledger.gaps())
            fresh = [
                build
                for build in ledger.published()
                if self._compared.get(build.partition, -1) != build.generation
            ]
            days = [(build, *self._day(build.partition)) for build in fresh]
            told = [(*day, bool(ledger.missing(Span(start=day[1], end=day[2])))) for day in days]
        for build, start, end, is_open in told:
            asked = {"start": start.isoformat(), "end": end.isoformat()}
            lines = [line for receipt in build.receipts for line in read_lines(self.out / receipt.path)]
            difference = compare(fetch_truth(self._server.url, **asked), lines)
            if is_open:
                difference.missing.clear()  # told as a gap; what is there is held to the truth
            if difference:
                self.wrong.append(f"{build.partition}: {difference}")
            self.records += len(lines)
            self._compared[build.partition] = build.generation
        self.partitions = len(self._compared)

    @staticmethod
    def _day(partition: str) -> tuple[datetime, datetime]:
        start = datetime.fromisoformat(partition).replace(tzinfo=UTC)
        return start, start + timedelta(days=1)

    def judge(self) -> None:
        """After its end: how it ended, and whether it grew."""
        if self.run.exit_code not in (10, 75):
            self.wrong.append(f"the long run ended with {self.run.exit_code}: {self.run.last_words}")
        verdict = verify(self.out)
        if not verdict.is_good:
            self.wrong.append(f"the long run's output: {verdict.differences[:5]}")
        for name, growth, limit in self.growth():
            if growth > limit:
                self.wrong.append(f"the long run's {name} grew by {growth:.1f}")

    def growth(self) -> list[tuple[str, float, float]]:
        """What, by how much, and how much is allowed; none where it ran too short to tell."""
        lasted_s = self.samples[-1][0] if self.samples else 0.0
        warm_s = min(WARM_S, WARM_SHARE * lasted_s)
        warm = [usage for at_s, usage in self.samples if at_s >= warm_s]
        third = len(warm) // 3
        if third < 10:
            return []
        first, last = warm[:third], warm[-third:]
        return [
            (name, median(of(one) for one in last) - median(of(one) for one in first), limit)
            for name, of, limit in (
                ("resident memory, MiB,", lambda usage: usage.rss_mib, GROWTH_MIB),
                ("open files", lambda usage: float(usage.files), 2.0),
                ("threads", lambda usage: float(usage.threads), 2.0),
            )
        ]
