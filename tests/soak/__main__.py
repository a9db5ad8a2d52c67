"""`python -m tests.soak [--minutes 60] [--seed N] [--folder DIR]`: a line each minute, and at last the
judgement as one line of JSON. Exit code 1 where something was wrong."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import anyio

from tests.soak import mischief
from tests.soak.campaigns import DAYS, START, Campaigns, Score
from tests.soak.long_run import FIRST, LAST, LongRun
from tests.soak.processes import Server, Usage, serving

HEAD = """\
        one run that goes on                          runs that follow each other
minute  days  records  gaps  MiB  files threads   runs killed stages records  MiB  requests  struck  wrong"""

ALL_STRIKE_MINUTES: Final = 30
"""The rarest fault strikes one request in 2,000."""
MOST: Final = Usage(128.0, 64, 40)
"""What a run of the campaigns may hold: 55 MiB, 25 files and 10 threads are usual with pages this small."""


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


async def soak(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """The judgement; `wrong` is empty where nothing was."""
    rng = random.Random(seed)
    short = ["--records", "1500", "--start", START.date().isoformat(), "--end", f"2024-01-{1 + DAYS:02d}"]
    short += ["--cluster", "15", "--twins", "0.02"]  # an instant that no page holds is a gap for some natures
    long = ["--records", "120000", "--start", FIRST.date().isoformat(), "--end", LAST, "--gzip"]
    (folder / "short").mkdir()
    (folder / "long").mkdir()
    async with serving(*short, "--seed", str(seed)) as one, serving(*long, "--seed", str(seed)) as two:
        await two.set_faults(
            [
                *mischief.ODD_RECORDS_OF_THE_LONG_RUN,
                *mischief.NOW_AND_THEN,
                *mischief.NATURE_OF_THE_LONG_RUN,
            ]
        )
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
        struck = [(await server.stats())["by_fault"] for server in (one, two)]
        return judged(long_run, campaigns.score, struck, minutes=minutes, seed=seed)


def judged(
    long_run: LongRun, score: Score, struck: list[dict[str, int]], *, minutes: float, seed: int
) -> dict[str, Any]:
    """What was compared, what the processes held, and whatever was wrong with it."""
    by_fault = Counter[str]()
    for one in struck:
        by_fault.update(one)
    wrong = [*long_run.wrong, *score.wrong, *held_too_much(score.most)]
    never = sorted({next(iter(fault)) for fault in mischief.NOW_AND_THEN} - set(by_fault))
    if not long_run.records or not score.stages:
        wrong.append("nothing was compared; let it run longer")
    if never and minutes >= ALL_STRIKE_MINUTES:
        wrong.append(f"never struck: {', '.join(never)}")
    return {
        "soak": "failed" if wrong else "passed",
        "minutes": minutes,
        "seed": seed,
        "long_run": {
            "records_compared": long_run.records,
            "partitions": long_run.partitions,
            "gaps": long_run.gaps,
            "samples": len(long_run.samples),
            "growth": {
                name: {"by": round(growth, 2), "allowed": limit} for name, growth, limit in long_run.growth()
            },
        },
        "campaigns": {
            "runs": score.runs,
            "ends": dict(score.ends),
            "stages_exact": score.stages,
            "records_compared": score.records,
            "most": {
                "rss_mib": round(score.most.rss_mib, 1),
                "files": score.most.files,
                "threads": score.most.threads,
            },
        },
        "struck": dict(sorted(by_fault.items())),
        "never_struck": never,
        "wrong": wrong,
    }


def held_too_much(most: Usage) -> list[str]:
    return [
        f"a run held {held:.0f} {what}, and {limit} are allowed"
        for what, held, limit in (
            ("MiB", most.rss_mib, MOST.rss_mib),
            ("files", most.files, MOST.files),
            ("threads", most.threads, MOST.threads),
        )
        if held > limit
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one where not given")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harvester-soak-") as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        judgement = anyio.run(soak, folder, args.minutes, args.seed)
    print(json.dumps(judgement))
    return bool(judgement["wrong"])


if __name__ == "__main__":
    sys.exit(main())
