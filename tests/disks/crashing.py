"""Killed at every recorded call: SIGKILL of a real process, before the call and in the middle of each write,
SQLite's own included, and again in the recovery. `python -m tests.disks.crashing URL FOLDER`; the last line
is JSON.
"""

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.disks.choosing import Choice, Spot, spots
from tests.disks.processes import Cases
from tests.disks.recording import Blow
from tests.disks.report import Report
from tests.disks.runs import STORIES, Ended, arguments, broken_promises, picture, run, source_of
from tests.disks.source import Near
from tests.harvesting import manifest


class Crashes:
    """One sweep. The first run of the story is killed as well as the second; the second has the last word."""

    def __init__(
        self, source: Near | str, folder: Path, *, story: str, choice: Choice, recoveries: int
    ) -> None:
        self._run = partial(run, source)
        self._folder = folder
        self._story = STORIES[story]
        self._choice = choice
        self._recoveries = recoveries
        self.report = Report()
        self._cases = Cases(folder, self.report)

    def sweep(self) -> None:
        nothing, begun, clean = (self._folder / name for name in ("nothing", "begun", "clean"))
        nothing.mkdir()
        first = self._undisturbed(nothing, begun, self._story.before)
        second = self._undisturbed(begun, clean, self._story.run)
        self._wanted = picture(clean / "out")
        self._kill_all(nothing, self._story.before, first, least=0)
        self._kill_all(begun, self._story.run, second, least=int(manifest(begun / "out")["records"]))

    def _undisturbed(self, source: Path, target: Path, job: dict[str, Any]) -> Ended:
        shutil.copytree(source, target)
        ended = self._run(target, job)
        assert ended.code == self._story.code, ended
        return ended

    def _kill_all(self, source: Path, job: dict[str, Any], calls: Ended, *, least: int) -> None:
        named = spots(calls.kinds, calls.places)
        chosen = [named[number - 1] for number in self._choice.numbers(calls.kinds, calls.places)]
        blows = [Blow(at=spot, kind="kill") for spot in chosen]
        blows += [Blow(at=spot, kind="tear") for spot in chosen if spot.kind == "write"]
        self.report.count("calls", len(named))
        self.report.count("points", len(blows))
        for number, blow in enumerate(blows[:: self._choice.every], start=1):
            again = [
                Spot(nth=1 + (number * 7 + recovery * 101) % len(named))
                for recovery in range(self._recoveries)
            ]
            self._cases.play(partial(self._kill, source, job, blow, again, least))
        self._cases.finish()

    def _kill(
        self,
        source: Path,
        job: dict[str, Any],
        blow: Blow,
        again: list[Spot],
        least: int,
        world: Path,
        report: Report,
    ) -> None:
        shutil.copytree(source, world)
        killed = self._run(world, job, blow=blow).code is None
        report.count("killed", killed)
        report.count("not reached", not killed)
        wrong = broken_promises(world / "out", least=least)
        for at in again:
            killed = self._run(world, self._story.run, blow=replace(blow, at=at)).code is None
            report.count("killed in the recovery", killed)
            wrong += broken_promises(world / "out", least=least)
        wrong += self._at_the_end(world)
        report.judged(f"{blow.kind} {blow.at}, from {source.name}", wrong)

    def _at_the_end(self, world: Path) -> list[str]:
        """It must be as if nothing had happened."""
        last = self._run(world, self._story.run, last=True)
        if last.code != self._story.code:
            return [f"exit code {last.code}: {last.error}"]
        found = picture(world / "out")
        return (
            [f"differs: {sorted({*found.items()} ^ {*self._wanted.items()})}"]
            if found != self._wanted
            else []
        )


def main() -> int:
    args = arguments(recoveries=1).parse_args()
    choice = Choice.of(args)
    crashes = Crashes(
        source_of(args), args.folder, story=args.story, choice=choice, recoveries=args.recoveries
    )
    crashes.sweep()
    print(crashes.report.encoded())
    return bool(crashes.report.wrong)


if __name__ == "__main__":
    sys.exit(main())
