"""`python -m tests.soak [--minutes 60] [--seed N] [--folder DIR]`: a line each minute, and a verdict."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

from tests.soak import mischief
from tests.soak.campaigns import DAYS, START, Campaigns
from tests.soak.long_run import FIRST, LAST, LongRun
from tests.soak.processes import Server, serving

HEAD = """\
        one run that goes on                          runs that follow each other
minute  days  records  gaps  MiB  files threads   runs killed stages records  MiB  requests  struck  wrong"""


class Soak:
    def __init__(self, long_run: LongRun, campaigns: Campaigns, servers: list[Server]) -> None:
        self._long_run = long_run
        self._campaigns = campaigns
        self._servers = servers
        self.began_s = time.monotonic()

    async def sample(self) -> None:
        while True:
            self._long_run.sample(time.monotonic() - self.began_s)
            await anyio.sleep(2.0)

    async def repeat(self) -> None:
        while not self._campaigns.score.wrong:
            await self._campaigns.one()

    async def tell(self, minute: int) -> None:
        await self._long_run.compare()
        long_run, score = self._long_run, self._campaigns.score
        usage = long_run.run.usage()
        asked = [await server.stats() for server in self._servers]
        cells = (
            (minute, 6),
            (long_run.partitions, 5),
            (long_run.records, 8),
            (long_run.gaps, 5),
            (round(usage.rss_mib), 4),
            (usage.files, 6),
            (usage.threads, 7),
            (score.runs, 6),
            (score.killed, 6),
            (score.stages, 6),
            (score.records, 7),
            (round(score.most.rss_mib), 4),
            (sum(one["requests"] for one in asked), 9),
            (sum(sum(one["by_fault"].values()) for one in asked), 7),
            (len(score.wrong) + len(long_run.wrong), 6),
        )
        print(" ".join(f"{value:{width}d}" for value, width in cells), flush=True)


async def soak(folder: Path, minutes: float, seed: int) -> list[str]:
    """What was wrong, empty where nothing was."""
    rng = random.Random(seed)
    short = ["--records", "1500", "--start", START.date().isoformat(), "--end", f"2024-01-{1 + DAYS:02d}"]
    long = ["--records", "120000", "--start", FIRST.date().isoformat(), "--end", LAST, "--gzip"]
    (folder / "short").mkdir()
    (folder / "long").mkdir()
    async with serving(*short, "--seed", str(seed)) as one, serving(*long, "--seed", str(seed)) as two:
        await two.set_faults([*mischief.NOW_AND_THEN, {"page_cap": 11}, {"duplicates": 0.05}])
        long_run = LongRun(two, folder / "long", seconds=max(10.0, 60 * minutes))
        campaigns = Campaigns(one, folder / "short", rng=rng)
        state = Soak(long_run, campaigns, [one, two])
        print(HEAD, flush=True)
        async with anyio.create_task_group() as group:
            group.start_soon(long_run.run.finish, name="long run")
            group.start_soon(state.sample, name="sample")
            group.start_soon(state.repeat, name="campaigns")
            for minute in range(1, int(minutes) + 1):
                await anyio.sleep(max(0.0, state.began_s + 60 * minute - time.monotonic()))
                await state.tell(minute)
                if long_run.wrong or campaigns.score.wrong:
                    break
            long_run.stop()
            with anyio.move_on_after(60):
                await long_run.run.ended.wait()
            group.cancel_scope.cancel()
        await long_run.compare()
        long_run.judge()
        _summarize(long_run, campaigns)
        return [*long_run.wrong, *campaigns.score.wrong]


def _summarize(long_run: LongRun, campaigns: Campaigns) -> None:
    score = campaigns.score
    figures: dict[str, Any] = {
        "runs": score.runs,
        "how they ended": dict(score.ends),
        "stages proven exact": score.stages,
        "their records compared": score.records,
        "the long run's records compared": long_run.records,
        "most of a run": str(score.most),
        "growth of the long run": {name: round(growth, 1) for name, growth, _ in long_run.growth()},
    }
    for name, value in figures.items():
        print(f"{name}: {value}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one where not given")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harvester-soak-") as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        wrong = anyio.run(soak, folder, args.minutes, args.seed)
    for one in wrong:
        print(f"WRONG: {one}")
    print("FAILED" if wrong else "passed: everything compared was exact, and nothing grew")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
