"""Many stories, in processes of their own: what they came to, and who sees a mutant."""

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.play import play

STRETCH: Final = 50
"""Stories that a process plays before it tells."""
_NAMED: Final = 20


def sweep(seeds: range, folder: Path, *, seconds: float, processes: int) -> dict[str, object]:
    """Plays until the seeds or the time are used up; `next` is where to go on."""
    began_s = time.monotonic()
    totals, ends = Counter[str](), Counter[str]()
    wrong: list[str] = []
    virtual_s, following = 0.0, seeds.start
    waiting = deque(seeds[first : first + STRETCH] for first in range(0, len(seeds), STRETCH))
    under_way: deque[Future[dict[str, Any]]] = deque()
    with _pool(processes) as pool:
        while waiting or under_way:
            if time.monotonic() - began_s > seconds:
                waiting.clear()
            while waiting and len(under_way) <= processes:
                under_way.append(pool.submit(_stretch, waiting.popleft(), folder))
            if under_way:
                told = under_way.popleft().result()
                totals += told["totals"]
                ends += told["ends"]
                wrong += told["wrong"]
                virtual_s += told["virtual_s"]
                following = told["next"]
    return {
        "seeds": totals["seeds"],
        "wrong": len(wrong),
        **{name: totals[name] for name in ("runs", "crashes", "requests", "steps")},
        "virtual_h": round(virtual_s / 3600, 1),
        "seconds": round(time.monotonic() - began_s, 1),
        "ends": dict(ends),
        "next": following,
        "wrong_seeds": wrong[:_NAMED],
    }


def _stretch(seeds: range, folder: Path) -> dict[str, Any]:
    totals, ends = Counter[str](), Counter[str]()
    wrong: list[str] = []
    virtual_s = 0.0
    for seed in seeds:
        report = play(seed, _own(folder))
        virtual_s += report.virtual_s
        ends += report.ends
        totals.update(
            seeds=1,
            runs=report.runs,
            crashes=report.crashes,
            requests=report.requests,
            steps=report.steps,
        )
        if report.wrong:
            wrong.append(f"seed {seed}: {report.wrong[0]}"[:1000])
    return {"totals": totals, "ends": ends, "wrong": wrong, "virtual_s": virtual_s, "next": seeds.stop}


def seen(seeds: range, folder: Path, *, processes: int) -> Iterator[tuple[str, list[int]]]:
    """Each mutant, and those of the seeds that fail with it."""
    with _pool(processes) as pool:
        found = [(name, pool.submit(_see, name, seeds, folder)) for name in MUTANTS]
        for name, one in found:
            yield name, one.result()


def _see(name: str, seeds: range, folder: Path) -> list[int]:
    with mutated(name):
        return [seed for seed in seeds if play(seed, _own(folder)).wrong]


def _own(folder: Path) -> Path:
    return folder / str(os.getpid())


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned, since what they start with must not depend on what was played here before."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield pool
