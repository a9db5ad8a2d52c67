"""`python -m tests.simulation [SEED] [--seeds N] [--from SEED] [--seconds S] [--mutants]`: plays stories and
says which were wrong.

With one SEED it plays that story twice and compares them step for step.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson

from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.play import play

MEMORY: Path | None = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
_NAMED = 20


def sweep(seeds: Iterable[int], folder: Path, *, seconds: float) -> dict[str, object]:
    """Plays until the seeds or the time are used up; `next` is where to go on."""
    began_s = time.monotonic()
    totals: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    virtual_s, seed = 0.0, -1
    for seed in seeds:
        report = play(seed, folder)
        virtual_s += report.virtual_s
        ends += report.ends
        totals.update(
            seeds=1,
            wrong=bool(report.wrong),
            runs=report.runs,
            crashes=report.crashes,
            requests=report.requests,
            steps=report.steps,
        )
        if report.wrong and len(wrong) < _NAMED:
            wrong.append(f"seed {seed}: {report.wrong[0]}"[:1000])
        if time.monotonic() - began_s > seconds:
            break
    return {
        **totals,
        "virtual_h": round(virtual_s / 3600, 1),
        "seconds": round(time.monotonic() - began_s, 1),
        "ends": dict(ends),
        "next": seed + 1,
        "wrong_seeds": wrong,
    }


def try_mutants(seeds: range, folder: Path) -> dict[str, int]:
    """How many of the seeds each mutant fails on."""
    found = {}
    for name in MUTANTS:
        with mutated(name):
            seen = [seed for seed in seeds if play(seed, folder).wrong]
        found[name] = len(seen)
        first = f", the first {seen[0]}" if seen else ""
        print(f"{len(seen):6d} of {len(seeds)}: {name}{first}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate-sweep")
    parser.add_argument("seed", type=int, nargs="?", help="play this one twice and compare")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the seed to begin with")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long; `next` tells where")
    parser.add_argument(
        "--mutants", action="store_true", help="break the program instead, and count who sees it"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harvester-simulation-", dir=MEMORY) as scratch:
        folder = Path(scratch) / "story"
        if args.seed is not None:
            one, two = play(args.seed, folder), play(args.seed, folder)
            told = {
                "steps": one.steps,
                "digest": one.digest,
                "alike": one.digest == two.digest,
                "wrong": one.wrong,
            }
            print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
            return bool(one.wrong) or one.digest != two.digest
        seeds = range(args.first, args.first + args.seeds)
        if args.mutants:
            counts = try_mutants(seeds, folder)
            print(orjson.dumps(counts).decode())
            return not all(counts.values())
        found = sweep(seeds, folder, seconds=args.seconds)
        print(orjson.dumps(found).decode())
        return bool(found["wrong"])


if __name__ == "__main__":
    sys.exit(main())
