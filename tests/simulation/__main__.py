"""`python -m tests.simulation [SEED] [--seeds N] [--from SEED] [--seconds S] [--processes N] [--mutants]`:
plays stories and says which were wrong.

With one SEED it plays that story twice and compares them step for step.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import orjson

from tests.simulation.play import play
from tests.simulation.sweep import seen, sweep

MEMORY: Path | None = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate-sweep")
    parser.add_argument("seed", type=int, nargs="?", help="play this one twice and compare")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the seed to begin with")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="one a core by default")
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
            counts = {}
            for name, failing in seen(seeds, folder, processes=args.processes):
                counts[name] = len(failing)
                first = f", the first {failing[0]}" if failing else ""
                print(f"{len(failing):6d} of {len(seeds)}: {name}{first}", file=sys.stderr, flush=True)
            print(orjson.dumps(counts).decode())
            return not all(counts.values())
        found = sweep(seeds, folder, seconds=args.seconds, processes=args.processes)
        print(orjson.dumps(found).decode())
        return bool(found["wrong"])


if __name__ == "__main__":
    sys.exit(main())
