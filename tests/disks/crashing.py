"""Killed at every recorded call: SIGKILL of a real process, before the call and in the middle of each write,
SQLite's own included, and again in the recovery. `python -m tests.disks.crashing URL FOLDER`; the last line
is JSON.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from tests.disks.recording import Blow
from tests.disks.runs import STORIES, Report, arguments, broken_promises, picture, run
from tests.harvesting import manifest


class Crashes:
    """One sweep. The first run of the story is killed as well as the second; the second has the last word."""

    def __init__(self, url: str, folder: Path, *, story: str, every: int, recoveries: int) -> None:
        self._url = url
        self._folder = folder
        self._story = STORIES[story]
        self._every = every
        self._recoveries = recoveries
        self.report = Report()

    def sweep(self) -> None:
        nothing, begun, clean = (self._folder / name for name in ("nothing", "begun", "clean"))
        nothing.mkdir()
        self._undisturbed(nothing, begun, self._story.before)
        self._undisturbed(begun, clean, self._story.run)
        self._wanted = picture(clean / "out")
        self._kill_all(nothing, self._story.before, least=0)
        self._kill_all(begun, self._story.run, least=int(manifest(begun / "out")["records"]))

    def _undisturbed(self, source: Path, target: Path, job: dict[str, Any]) -> list[str]:
        """The kinds of calls that it made."""
        shutil.copytree(source, target)
        ended = run(self._url, target, job)
        assert ended.code == self._story.code, ended
        return ended.kinds

    def _kill_all(self, source: Path, job: dict[str, Any], *, least: int) -> None:
        world = self._folder / "world"
        kinds = self._undisturbed(source, world, job)
        shutil.rmtree(world)
        blows = [Blow(at=at, kind="kill") for at in range(1, len(kinds) + 1)]
        blows += [Blow(at=at, kind="tear") for at, kind in enumerate(kinds, start=1) if kind == "write"]
        self.report.count("calls", len(kinds))
        self.report.count("points", len(blows))
        for blow in blows[:: self._every]:
            shutil.copytree(source, world)
            killed = run(self._url, world, job, blow=blow).code is None
            self.report.count("killed", killed)
            self.report.count("not reached", not killed)
            wrong = broken_promises(world / "out", least=least)
            for again in range(self._recoveries):
                second = Blow(at=1 + (blow.at * 7 + again * 101) % len(kinds), kind=blow.kind)
                killed = run(self._url, world, self._story.run, blow=second).code is None
                self.report.count("killed in the recovery", killed)
                wrong += broken_promises(world / "out", least=least)
            wrong += self._at_the_end(world)
            self.report.judged(f"{blow.kind} {blow.at} ({kinds[blow.at - 1]}), from {source.name}", wrong)
            shutil.rmtree(world)

    def _at_the_end(self, world: Path) -> list[str]:
        """It must be as if nothing had happened."""
        last = run(self._url, world, self._story.run, watched=False)
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
    crashes = Crashes(args.url, args.folder, story=args.story, every=args.every, recoveries=args.recoveries)
    crashes.sweep()
    print(crashes.report.encoded())
    return bool(crashes.report.wrong)


if __name__ == "__main__":
    sys.exit(main())
