"""`python -m tests.fault_sweep [--from N] [--seeds N] [--seed N]`: harvests from servers with two to five
behaviours at once, drawn by seed, and compares each output with the truth.

Exit code 0 of a run must mean exact. Whatever else it ends with, nothing in the output may be wrong, what is
missing must lie in a gap that the manifest names, and a second run against a server that has come to its
senses must fill it.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio

from harvester.job import Outcome
from harvester.testing.control import lines_of_truth
from harvester.testing.server import Simulator
from harvester.verify import verify
from tests.drawing import Drawn, drawn
from tests.harvesting import TOKEN_ENV, World, manifest

ODD = ("bigint", "twice_keys")
BOUND_S = 90.0
"""No run with so few records takes so long, on whatever machine."""


async def played(one: Drawn, out: Path) -> tuple[Outcome, list[str]]:
    """How the first run ended, and what was wrong with it or with what it left; empty where nothing was."""
    os.environ[TOKEN_ENV] = one.settings.token
    wrong: list[str] = []
    async with Simulator(one.settings).start() as simulator:
        world = World(simulator, out)
        simulator.set_faults(one.faults)
        with anyio.fail_after(BOUND_S):
            outcome = await world.run(**_job(one))
        wrong += _wrong(world, outcome)
        if outcome.exit_code not in (0, 3, 5, 6):
            wrong.append(f"ended with {outcome.exit_code}: {outcome.error}")
        if outcome.exit_code and not one.may_lose:
            wrong.append(f"ended with {outcome.exit_code} for nothing: {outcome.error} {outcome.gaps[:1]}")
        if outcome.exit_code:
            # Records that are odd and no more stay as they are.
            simulator.set_faults([fault for fault in one.faults if fault.get("record") in ODD])
            with anyio.fail_after(BOUND_S):
                again = await world.run(**_job(one))
            if again.exit_code:
                wrong.append(f"the second run ended with {again.exit_code}: {again.error} {again.gaps[:1]}")
            wrong += [f"after the second run: {words}" for words in _wrong(world, again)]
    return outcome, wrong


def _job(one: Drawn) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in one.job.items()}


def _wrong(world: World, outcome: Outcome) -> list[str]:
    told = manifest(world.out)
    gaps = [
        (datetime.fromisoformat(gap["start"]), datetime.fromisoformat(gap["end"])) for gap in told["gaps"]
    ]
    span = (world.simulator.settings.start, world.simulator.settings.end)
    at = {line["key"]: line["time"] for line in lines_of_truth(world.simulator, {})}
    difference = world.difference()
    wrong = [
        f"{kind}: {len(keys)}, the first {keys[0]}"
        for kind in ("doubled", "stale", "foreign", "changed")
        if (keys := getattr(difference, kind))
    ]
    unnamed = [
        key
        for key in difference.missing
        if not any(start.timestamp() * 1000 <= at[key] < end.timestamp() * 1000 for start, end in gaps)
    ]
    if unnamed:
        wrong.append(f"missing and in no gap: {len(unnamed)}, the first {unnamed[0]}")
    if outcome.exit_code == 0 and (gaps or not told["complete"] or difference.missing):
        wrong.append(f"exit code 0 with gaps {gaps[:1]}, {len(difference.missing)} missing")
    if outcome.exit_code == 3 and not any(start < span[1] and end > span[0] for start, end in gaps):
        wrong.append("exit code 3 without a gap")
    verdict = verify(world.out)
    if not verdict.is_good:
        wrong.append(f"verify: {verdict.differences[:1]}")
    return wrong


def checked(seed: int) -> tuple[Drawn, str, list[str]]:
    """What was drawn, how its run ended, and all that was wrong, a traceback and a hang included."""
    one = drawn(seed)
    with tempfile.TemporaryDirectory(prefix="harvester-faults-") as folder:
        try:
            outcome, wrong = anyio.run(played, one, Path(folder) / "out")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return one, "traceback", ["".join(traceback.format_exception(error))]
    return one, f"exit code {outcome.exit_code}", wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fault-sweep", description=__doc__)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--seeds", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--tell", action="store_true", help="tell each run that was not complete")
    given = parser.parse_args()
    first, count = (given.seed, 1) if given.seed is not None else (given.first, given.seeds)
    ends: Counter[str] = Counter()
    bad: list[int] = []
    for seed in range(first, first + count):
        one, end, wrong = checked(seed)
        ends[end] += 1
        if given.tell and end != "exit code 0":
            print(f"{end}: {one}", flush=True)
        if wrong:
            bad.append(seed)
            print(f"{one}\n  {end}\n  " + "\n  ".join(wrong), flush=True)
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    print(f"{first} to {first + count - 1}: {told}; wrong: {len(bad)} {bad or ''}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
