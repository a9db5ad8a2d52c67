"""Every error that a disk can meet, at every recorded call: once, for good, or after half of a write.
SQLite's own calls meet them too. `python -m tests.disks.breaking URL FOLDER`; the last line is JSON.

The run must end with 7 and a message that names what it was about and the way out, or with all that it
claims in its place; no sync that failed may be tried again; and on the mended disk the next run must end as
if nothing had happened.
"""

import errno
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from harvester.errors import ConfigError, StorageError
from harvester.verify import verify
from tests.disks.choosing import Choice, spots
from tests.disks.mutants import BREAKING
from tests.disks.processes import Cases, played
from tests.disks.recording import FAILING, Blow
from tests.disks.report import Report
from tests.disks.runs import (
    STORIES,
    Ended,
    arguments,
    broken_promises,
    by_plain_names,
    picture,
    run,
    source_of,
)
from tests.disks.source import Near
from tests.harvesting import manifest

STORAGE: Final = 7
WAYS_OUT: Final = ("run again", "then run")
UNTOLD: Final = {"manifest", "ledger", "foreign"}
"""What verify may find after exit code 7: something is sealed and not told yet. What is told is there."""


def differences(out: Path) -> list[str]:
    """Of an output from what it says: what verify finds, by kind."""

    def looking() -> dict[str, Any]:
        try:
            verdict = verify(out)
        except ConfigError:
            return {"found": []}  # nothing was begun
        except StorageError as error:
            return {"found": [f"ledger: {error}"]}
        return {"found": [f"{one.kind}: {one.subject}: {one.detail}" for one in verdict.differences]}

    told = played(looking)
    return list(told.get("found", [f"verify: {told}"]))


class Breakages:
    """One sweep. The first run of the story meets errors as well as the second, which has the last word."""

    def __init__(
        self,
        source: Near | str,
        folder: Path,
        *,
        story: str,
        choice: Choice,
        mutant: str,
        until_wrong: bool = False,
    ) -> None:
        self._run = partial(run, source)
        self._folder = folder
        self._story = STORIES[story]
        self._choice = choice
        self._mutant = BREAKING.get(mutant)
        self._number = 0
        self.report = Report()
        self._cases = Cases(folder, self.report, until_wrong=until_wrong)

    def sweep(self) -> None:
        nothing, begun, clean = (self._folder / name for name in ("nothing", "begun", "clean"))
        nothing.mkdir()
        first = self._undisturbed(nothing, begun, self._story.before)
        second = self._undisturbed(begun, clean, self._story.run)
        self._wanted = picture(clean / "out")
        least = int(manifest(begun / "out")["records"])
        for source, job, calls, told in (
            (nothing, self._story.before, first, 0),
            (begun, self._story.run, second, least),
        ):
            self.report.count("calls", len(calls.kinds))
            for blow in self._blows(calls):
                self._cases.play(partial(self._try, source, job, blow, told))
            self._cases.finish()
            if self._cases.is_over:
                return

    def _undisturbed(self, source: Path, target: Path, job: dict[str, Any]) -> Ended:
        shutil.copytree(source, target)
        ended = self._run(target, job)
        assert ended.code == self._story.code, ended
        return ended

    def _blows(self, calls: Ended) -> list[Blow]:
        """Every call with every error that it can meet: in turn once, for good, and torn where it writes. Of
        a sample's few calls each meets one error, which its name decides.
        """
        chosen = []
        named = spots(calls.kinds, calls.places)
        for number in self._choice.numbers(calls.kinds, calls.places):
            at = named[number - 1]
            errors = [error for error, meets in FAILING.items() if at.kind in meets]
            turn = crc32(f"{at.kind} {at.about}".encode())
            for error in [errors[turn % len(errors)]] if self._choice.first else errors:
                self._number += 1
                way = (turn // len(errors) if self._choice.first else number + self._number) % 3
                if self._number % self._choice.every == 0:
                    chosen.append(Blow(at=at, kind="fail", error=error, lasting=way == 1, torn=way == 2))
                self.report.count("points")
        return chosen

    def _try(
        self, source: Path, job: dict[str, Any], blow: Blow, least: int, world: Path, report: Report
    ) -> None:
        shutil.copytree(source, world)
        ended = self._run(world, job, blow=blow, mutant=self._mutant)
        report.count("errors")
        report.count("not reached", not ended.struck)
        wrong = [f"{path} was synced again" for path in ended.retried]
        wrong += broken_promises(world / "out", least=least)
        found = differences(world / "out")
        if ended.code == STORAGE:
            report.count("exit 7")
            wrong += self._of_the_message(ended.error, world)
            wrong += [one for one in found if one.partition(":")[0] not in UNTOLD]
        elif ended.code == self._story.code:
            report.count("unharmed")
            wrong += found
            if ended.struck and not _is_dispensable(ended):
                wrong.append("the run does not say that this failed")
        else:
            wrong.append(f"exit code {ended.code}: {ended.error}")
        last = self._run(world, self._story.run, last=True)
        if last.code != self._story.code:
            wrong.append(f"then exit code {last.code}: {last.error}")
        elif (after := by_plain_names(picture(world / "out"))) != self._wanted:
            wrong.append(f"differs: {sorted({*after.items()} ^ {*self._wanted.items()})}")
        how = "for good" if blow.lasting else "torn" if blow.torn else "once"
        report.judged(f"{errno.errorcode[blow.error]} {how} at {blow.at}, from {source.name}", wrong)

    @staticmethod
    def _of_the_message(error: str, world: Path) -> list[str]:
        wrong = []
        if str(world) not in error:
            wrong.append(f"names no file: {error}")
        if not any(way in error for way in WAYS_OUT):
            wrong.append(f"names no way out: {error}")
        return wrong


def _is_dispensable(ended: Ended) -> bool:
    """Whether the failure changes nothing that was promised: SQLite removes a journal that is done with; or
    it syncs the folder of its new file, and the log's name is durable by then; or the ledger is closed, and
    its log, which is synced, cannot be moved into the file.
    """
    kinds, places = ended.kinds[ended.struck - 1 :], ended.places[ended.struck - 1 :]
    if kinds[0] == "unlink" and places[0].endswith("-journal"):
        return True
    if kinds[0] == "sync_folder" and "/ledger.sqlite-" in ended.places[ended.struck - 2]:
        return True
    return all("/ledger.sqlite" in place for place in places)


def main() -> int:
    args = arguments(mutant="", until_wrong=0).parse_args()
    choice = Choice.of(args)
    breakages = Breakages(
        source_of(args),
        args.folder,
        story=args.story,
        choice=choice,
        mutant=args.mutant,
        until_wrong=bool(args.until_wrong),
    )
    breakages.sweep()
    print(breakages.report.encoded())
    return bool(breakages.report.wrong)


if __name__ == "__main__":
    sys.exit(main())
