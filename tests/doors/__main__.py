"""scripts/door-mutants: each mutant in a copy of the program, and the first test that fails there.

`--only TEXT` takes those whose name holds it. Exit code 1 where one was seen by no test.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.doors.mutants import MUTANTS, Mutant

ROOT: Final = Path(__file__).parents[2]
_PARTS: Final = ("harvester", "tests", "config", "scripts", "docs")
_LONGEST_S: Final = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/door-mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant.name]
    unseen = 0
    with tempfile.TemporaryDirectory(prefix="door-mutants-") as folder:
        place = Path(folder)
        for part in _PARTS:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, place / part, ignore=ignored)
        for path in ROOT.glob("*.*"):
            if path.is_file():
                shutil.copy(path, place)
        for mutant in chosen:
            seen_by = _seen_by(mutant, place)
            unseen += seen_by is None
            print(f"{mutant.name:<50}  {seen_by or 'SEEN BY NO TEST'}", flush=True)
    print(f"{len(chosen) - unseen} of {len(chosen)} mutants seen")
    return 1 if unseen or not chosen else 0


def broken(mutant: Mutant, text: str) -> str:
    """ValueError where what it changes is not there once."""
    if text.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}"
        )
    return text.replace(mutant.old, mutant.new)


def _seen_by(mutant: Mutant, place: Path) -> str | None:
    """The test; a run that did not end counts as seen, and is told as that."""
    file = place / mutant.file
    whole = file.read_text()
    file.write_text(broken(mutant, whole))
    environ = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests.split()]
    try:
        ended = subprocess.run(
            words, cwd=place, env=environ, capture_output=True, text=True, timeout=_LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return "a run without an end"
    finally:
        file.write_text(whole)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    return "the tests, which ended early" if ended.returncode not in (0, 5) else None


if __name__ == "__main__":
    sys.exit(main())
