"""Draws pairs of damages by seed, follows the advice, and compares the end with an undisturbed run.

`python -m tests.damages [--seeds FIRST LAST]`; a seed draws the same again. Wrong is: a run that ends with 0
beside records that are missing, a damage that nothing names, advice that does not lead to the exact output
within three commands, and a stranger's file that is gone.
"""

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Final

import anyio

from harvester.job import Outcome
from harvester.output import read_manifest
from harvester.output.contradiction import contradiction
from harvester.scheduler import Harvest
from harvester.testing import Settings, Simulator
from harvester.windows import Span
from tests.damages.advice import follow
from tests.damages.damages import Output, do, pair, pair_of_another
from tests.harvesting import DAY, SPAN, START, TOKEN_ENV, HastyClock, digests, hours, manifest, settings
from tests.test_harvest import POISON

OUTPUT: Final[dict[str, Any]] = {"shard_bytes": 40_000}
STRANGERS: Final = ("notes.txt", "dt=2024-01-01/_notes.txt", "_harvest/notes.txt")
SETTINGS: Final = Settings(records=60, end=START + 2 * DAY)
BASES: Final[dict[str, tuple[Span, Span, bool]]] = {
    # the span of the run before, whose ledger and manifest are the older ones; that of the last; an outage
    "finished": (hours(0, 30), SPAN, False),
    "with a gap": (hours(0, 20), SPAN, True),
    "parts of days with a gap": (hours(5, 20), hours(3, 40), True),
    "parts of days": (hours(5, 20), hours(3, 40), False),
}
OTHERS: Final[dict[str, tuple[Span, dict[str, Any]]]] = {
    "another job": (SPAN, {"shard_bytes": 20_000}),
    "the same job over another span": (hours(7, 11), OUTPUT),
    "a job of gzip": (hours(0, 40), {**OUTPUT, "compression": "gzip"}),
}
OF_ANOTHER_EVERY: Final = 5
"""Each fifth seed is played once more, with the manifest of another output; no multiple of the bases."""


class Sweep:
    def __init__(self, simulator: Simulator, folder: Path) -> None:
        os.environ[TOKEN_ENV] = SETTINGS.token
        self._simulator = simulator
        self._folder = folder
        self._wanted: dict[str, dict[str, str]] = {}
        for name, (before, span, has_outage) in BASES.items():
            self._prepare(name, before, span, has_outage=has_outage)
        self._others = [folder / "bases" / name for name in OTHERS]
        for name, (span, output) in OTHERS.items():
            assert self._run(folder / "bases" / name, span, output).exit_code == 0

    def _prepare(self, name: str, before: Span, span: Span, *, has_outage: bool) -> None:
        base = self._folder / "bases" / name
        assert self._run(base / "clean", span).exit_code == 0
        self._wanted[name] = digests(base / "clean")
        assert self._run(base / "out", before).exit_code == 0
        shutil.copytree(base / "out", base / "older")
        self._simulator.set_faults([POISON] if has_outage else [])
        assert self._run(base / "out", span).exit_code == (3 if has_outage else 0)
        self._simulator.set_faults([])
        for out in ("clean", "older", "out"):
            assert contradiction(read_manifest(base / out)) is None

    def _run(
        self, out: Path, span: Span, output: dict[str, Any] = OUTPUT, *, repair: bool = False
    ) -> Outcome:
        job = settings(
            out,
            self._simulator.url,
            span=span,
            output=output,
            transport={"max_attempts": 2, "concurrency": 2},
        )
        return anyio.run(Harvest(job, clock=HastyClock(), repair=repair).run)

    def play(self, seed: int, *, of_another: bool = False) -> tuple[str, list[str], list[str]]:
        """The way it ended, what was wrong with that, and what was played."""
        rng = random.Random(seed)
        name = list(BASES)[seed % len(BASES)]
        base, span = self._folder / "bases" / name, BASES[name][1]
        out = self._folder / f"seed-{seed}" / "out"
        shutil.copytree(base / "out", out)
        for path in STRANGERS:
            (out / path).parent.mkdir(exist_ok=True)
            (out / path).write_text("mine")
        output = Output(out, base / "older", self._others, rng)
        drawn = pair_of_another(rng) if of_another else pair(rng)
        played = [name, *filter(None, (do(damage, output) for damage in drawn))]
        before = _tree(out)
        wrong: list[str] = []

        def run(repair: bool) -> Outcome:
            outcome = self._run(out, span, repair=repair)
            if outcome.exit_code == 0 and (out / "_SUCCESS").exists():
                if sorted(digests(out).values()) != sorted(self._wanted[name].values()):
                    wrong.append("a run ended with 0 and has not the records of an undisturbed one")
            return outcome

        followed = follow(out, run)
        played += followed.steps
        if followed.is_good:
            told = manifest(out)
            if not told["complete"] or digests(out) != self._wanted[name]:
                wrong.append(f"verify finds nothing wrong with {sorted(digests(out))}")
        else:
            wrong.append(f"no way out: {followed.refused[:600]}")
        if not followed.named_at_first and _tree(base / "out") != {
            path: content for path, content in before.items() if not path.endswith("notes.txt")
        }:
            wrong.append("no damage is named")
        everywhere = [path.read_text() for path in out.parent.rglob("*notes.txt")]
        if everywhere != ["mine"] * len(STRANGERS):
            wrong.append("a stranger's file is gone")
        shutil.rmtree(out.parent)
        begun_anew = any(step.endswith("and run") for step in followed.steps)
        return ("begun anew" if begun_anew else "mended"), wrong, played

    def sweep(self, seeds: range) -> dict[str, Any]:
        ends: Counter[str] = Counter()
        wrong: dict[str, Any] = {}
        plays = [(seed, False) for seed in seeds]
        plays += [(seed, True) for seed in seeds if seed % OF_ANOTHER_EVERY == 0]
        for seed, of_another in plays:
            end, found, played = self.play(seed, of_another=of_another)
            ends[end] += 1
            if found:
                wrong[f"{seed} of another" if of_another else f"{seed}"] = {"wrong": found, "played": played}
        return {"seeds": len(seeds), "ends": dict(ends), "number wrong": len(wrong), "wrong": wrong}


def _tree(out: Path) -> dict[str, bytes]:
    """Of the ledger its size alone: SQLite has bytes in it that mean nothing."""
    return {
        path.relative_to(out).as_posix(): (
            b"%d" % path.stat().st_size if path.name.startswith("ledger") else path.read_bytes()
        )
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("lock", "contract.json")
    }
