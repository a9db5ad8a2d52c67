"""Somebody who knows nothing but what the commands say: looks, does what is advised, looks again."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harvester.errors import HarvesterError
from harvester.job import Outcome
from harvester.rebuild import rebuild
from harvester.verify import verify

STEPS = 3
"""Commands that may be needed, beside moving away what is in the way."""
_REBUILD = re.compile(r"`harvester rebuild-ledger \S+?((?: --force| --repair)*)`")
Run = Callable[[bool], Outcome]
"""The job, with `--repair` or without."""


@dataclass(slots=True, kw_only=True)
class Followed:
    """`refused` is what was said last where the steps did not suffice."""

    steps: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    is_good: bool = False
    named_at_first: bool = False
    refused: str = ""


def follow(out: Path, run: Run) -> Followed:
    followed = Followed()
    told = _looked(out, followed)
    followed.named_at_first = bool(told)
    moved = 0
    while len(followed.steps) - moved < STEPS + 1:
        if not told:
            followed.is_good = True
            return followed
        act, moves = _advised(out, told)
        if act is None or (not moves and len(followed.steps) - moved == STEPS):
            break
        moved += moves
        followed.steps.append(act)
        told = _done(out, act, run, followed) or _looked(out, followed)
    followed.refused = told
    return followed


def _looked(out: Path, followed: Followed) -> str:
    """What `verify` says is wrong, with its way out; empty where nothing is."""
    try:
        verdict = verify(out)
    except HarvesterError as error:
        followed.codes.append(error.exit_code)
        return str(error)
    lines = [f"{one.kind} {one.subject}: {one.detail}" for one in verdict.differences]
    followed.codes.append(4 if lines else 0)
    if not lines and not verdict.complete:
        return "not complete: run the job again to fill the gaps"
    return "\n".join([*lines, verdict.way_out or ""] if lines else [])


def _advised(out: Path, told: str) -> tuple[str | None, bool]:
    """The one thing that is done about it, and whether that only moves something away."""
    if f"move {out} away" in told:
        return f"move {out} away and run", False
    asked = _REBUILD.findall(told)
    if asked:
        return " ".join(["rebuild", *sorted({word for words in asked for word in words.split()})]), False
    if "run JOB.toml --repair`" in told:
        return "run --repair", False
    if "move _manifest.json away" in told:
        return "move _manifest.json away", True
    if "of another version" in told or "by another version" in told or "folder stands in" in told:
        path = Path(re.findall(r"(\S+): ", told)[0])
        return f"move {path.relative_to(out)} away", True
    if re.search(r"[Rr]un the job again|run again", told):
        return "run", False
    foreign = re.findall(r"^foreign (.*?): .*move it away", told, re.MULTILINE)
    if foreign:
        return f"move {foreign[0]} away", True
    named = re.search(r"(\S+): .*move it away", told)
    return (f"move {Path(named[1]).relative_to(out)} away", True) if named else (None, False)


def _done(out: Path, act: str, run: Run, followed: Followed) -> str:
    """What the command says where it does not end with 0."""
    aside = out.with_name(f"{out.name}-aside-{len(followed.steps)}")
    if act.startswith("move"):
        if act.endswith("and run"):
            shutil.move(out, aside)
        else:
            aside.mkdir()
            shutil.move(out / act.split()[1], aside)
            return ""
    if act.startswith("rebuild"):
        try:
            rebuild(out, force="--force" in act, repair="--repair" in act)
        except HarvesterError as error:
            followed.codes.append(error.exit_code)
            return str(error)
        return "run the job again"
    outcome = run("--repair" in act)
    followed.codes.append(outcome.exit_code)
    return "" if outcome.exit_code == 0 else (outcome.error or "")
