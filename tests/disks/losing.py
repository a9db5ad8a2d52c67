"""The power goes at every recorded call: what a disk may then hold is laid out, judged, and recovered from.

Recorded are a run into nothing and the one that replaces what it left; the recoveries of runs that were
killed, whose calls no sync has followed; the recoveries of what power losses left; and runs of mutants, each
of which must lead to states that are wrong. `python -m tests.disks.losing URL FOLDER`; the last line is JSON.
"""

import random
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.disks.choosing import Choice, Spot, spots
from tests.disks.losses import Model, State, digest, lay_out
from tests.disks.mutants import LOSING
from tests.disks.processes import Cases
from tests.disks.record import operations, told_of
from tests.disks.recording import Blow
from tests.disks.report import Report
from tests.disks.runs import STORIES, Ended, arguments, broken_promises, picture, run, source_of
from tests.disks.source import Near
from tests.harvesting import manifest

AGAIN: Final = 6
"""So many kills and so many losses, evenly over a run, whose recoveries are recorded."""
NO_END: Final = 1 << 30
_Calls = list[Any]


class Losses:
    """One sweep over the states of one or more records, each state tried once; at `most` so many."""

    def __init__(
        self,
        source: Near | str,
        folder: Path,
        *,
        story: str,
        choice: Choice,
        drawn: int,
        seed: int,
        most: int = NO_END,
        until_wrong: bool = False,
    ) -> None:
        self._source = source
        self._folder = folder
        self._story = STORIES[story]
        self._choice = choice
        self._drawn = drawn
        self._seed = seed
        self._most = most
        self._seen: set[tuple[bytes, int, bool]] = set()
        self.report = Report()
        self._cases = Cases(folder, self.report, until_wrong=until_wrong)
        clean = folder / "clean"
        clean.mkdir()
        self._done(run(source, clean, self._story.before))
        self._records_before = int(manifest(clean / "out")["records"])
        self._done(run(source, clean, self._story.run))
        self._wanted = picture(clean / "out")

    def _done(self, ended: Ended) -> None:
        assert ended.code == self._story.code, ended

    def record(self, *, mutant: str = "", killed_at: Spot | None = None) -> tuple[_Calls, int, int]:
        """The calls of a run into nothing, then of the run that is told on, which may be killed at a call and
        run again. After how many calls the first had ended, and from which on the power may go.
        """
        world, record = self._folder / "recorded", self._folder / "record"
        world.mkdir()
        change = LOSING.get(mutant)
        self._done(run(self._source, world, self._story.before, record=record, mutant=change))
        start = before = sum(1 for _ in operations(record))
        if killed_at is not None:
            blow = Blow(at=killed_at, kind="kill")
            killed = run(self._source, world, self._story.run, record=record, blow=blow)
            self.report.count("killed", killed.code is None)
            start = sum(1 for _ in operations(record))
        self._done(run(self._source, world, self._story.run, record=record, mutant=change))
        return self._taken(world, record), before, start if killed_at else 0

    def record_from(self, state: State) -> _Calls:
        """The calls of a recovery from what a power loss left."""
        world, record = self._folder / "recorded", self._folder / "record"
        lay_out(state, world)
        self._done(run(self._source, world, self._story.run, record=record))
        return self._taken(world, record)

    @staticmethod
    def _taken(world: Path, record: Path) -> _Calls:
        calls = list(operations(record))
        record.unlink()
        shutil.rmtree(world)
        return calls

    def points(self, calls: _Calls, before: int, start: int) -> list[int]:
        """Calls after `start`, the first being 1, after which the power may go: those that are chosen in each
        run, and the last. `before`: so many are of the run before.
        """
        kinds, places = told_of(calls)
        found = []
        for first, end in pairwise(sorted({start, max(start, before), len(calls)})):
            found += [first + at for at in self._choice.numbers(kinds[first:end], places[first:end])]
        return sorted({*found, len(calls)})

    def sweep(self, calls: _Calls, what: str, *, thinned: int = 1, before: int = 0, start: int = 0) -> None:
        self.report.count("calls", len(calls) - start)
        points = {*self.points(calls, before, start)[:: -self._choice.every * thinned]}
        model = Model()
        for number, call in enumerate(calls, start=1):
            model.apply(call)
            if number not in points:
                continue
            self.report.count("points")
            rng = random.Random(f"{self._seed} {what} {number}")
            for place, state in enumerate(model.states(rng, self._drawn)):
                if self.report.counts.get("states", 0) >= self._most:
                    return
                self._judge(
                    state,
                    f"{what}, call {number} ({call[0]}), state {place}",
                    least=self._records_before if number >= before > 0 else 0,
                    ended=number == len(calls),
                )

    def _judge(self, state: State, case: str, *, least: int, ended: bool) -> None:
        """`ended`: the run was over and had claimed what it claims."""
        what = digest(state), least, ended
        if what in self._seen:
            self.report.count("met before")
            return
        self._seen.add(what)
        self.report.count("states")
        self._cases.play(partial(self._recover, state, case, least, ended))

    def _recover(self, state: State, case: str, least: int, ended: bool, world: Path, report: Report) -> None:
        lay_out(state, world)
        told = broken_promises(world / "out", least=least)
        if ended and picture(world / "out") != self._wanted:
            told.append("what the run claimed at its end is not all there")
        last = run(self._source, world, self._story.run, last=True)
        if last.code != self._story.code:
            told.append(f"exit code {last.code}: {last.error}")
        elif (found := picture(world / "out")) != self._wanted:
            told.append(f"differs: {sorted(set(found.items()) ^ set(self._wanted.items()))}")
        report.judged(case, told)

    def whole(self, again: int) -> None:
        """The runs, then `again` recoveries from kills and as many from losses, swept more thinly."""
        calls, before, _ = self.record()
        self.sweep(calls, "run", before=before)
        kinds, places = told_of(calls)
        named = spots(kinds[before:], places[before:])
        for number in _evenly(self._choice.numbers(kinds[before:], places[before:]), again):
            at = named[number - 1]
            record, _, start = self.record(killed_at=at)
            self.sweep(record, f"recovery of a kill at {at}", thinned=again, before=before, start=start)
        for number in _evenly(self.points(calls, before, 0), again):
            model = Model()
            for call in calls[:number]:
                model.apply(call)
            *_, state = model.states(random.Random(f"{self._seed} {number}"), 1)
            self.sweep(self.record_from(state), f"recovery of a loss at {number}", thinned=again)

    def until_wrong(self, calls: _Calls, before: int) -> None:
        """The states in which least survived, from the end on, until one is wrong."""
        model, states = Model(), []
        for call in calls:
            model.apply(call)
            states.append(next(model.states(random.Random(0), 0)))
        for number, state in reversed([*enumerate(states, start=1)]):
            least = self._records_before if number >= before else 0
            self._judge(state, f"call {number}", least=least, ended=number == len(calls))
            if self._cases.is_over:
                return

    def finish(self) -> None:
        """Waits for the states that are still being recovered from."""
        self._cases.finish()


def _evenly(numbers: Sequence[int], of_them: int) -> list[int]:
    return [numbers[(2 * place + 1) * len(numbers) // (2 * of_them)] for place in range(of_them)]


def main() -> int:
    args = arguments(drawn=4, seed=1, mutant="", most=NO_END, again=AGAIN, until_wrong=0).parse_args()
    if args.by_command:
        sys.exit("--by-command: not for power losses")
    losses = Losses(
        source_of(args),
        args.folder,
        story=args.story,
        choice=Choice.of(args),
        drawn=args.drawn,
        seed=args.seed,
        most=args.most,
        until_wrong=bool(args.until_wrong),
    )
    if args.mutant:
        calls, before, _ = losses.record(mutant=args.mutant)
        if args.until_wrong:
            losses.until_wrong(calls, before)
        else:
            losses.sweep(calls, args.mutant, before=before)
    else:
        losses.whole(args.again)
    losses.finish()
    print(losses.report.encoded())
    return bool(losses.report.wrong)


if __name__ == "__main__":
    sys.exit(main())
