"""The mutants of the doors: what they break is still there to be broken. scripts/door-mutants runs them."""

from pathlib import Path

import pytest

from tests.doors.__main__ import ROOT, broken
from tests.doors.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_breaks_stands_in_the_program_once(mutant: Mutant) -> None:
    """And what becomes of it is a program, which fails for its meaning and not for its syntax."""
    text = broken(mutant, (ROOT / mutant.file).read_text())
    compile(text, mutant.file, "exec")
    assert all((ROOT / name).is_file() for name in mutant.tests.split())
    assert Path(mutant.file).suffix in (".py", "")
