"""The power goes: a sample of what a disk may hold then; all of it in scripts/power-loss-sweep."""

import pytest

from tests.disks.mutants import LOSING
from tests.disks.runs import swept


@pytest.mark.parametrize(
    ("story", "options"),
    [
        ("plain", ["--every", "110", "--drawn", "1", "--again", "1"]),
        ("parquet", ["--every", "170", "--drawn", "1", "--again", "0"]),
    ],
)
def test_whatever_a_power_loss_leaves_the_next_run_ends_with_the_bytes_of_an_undisturbed_one(
    story: str, options: list[str]
) -> None:
    code, told = swept("tests.disks.losing", options, story=story)
    assert (code, told["wrong"]) == (0, [])
    assert told["recovered"] == told["states"] >= 4


@pytest.mark.parametrize("mutant", LOSING)
def test_without_a_sync_or_its_order_something_is_lost(mutant: str) -> None:
    _, told = swept("tests.disks.losing", ["--mutant", mutant, "--until-wrong", "1"], story="plain")
    assert told["number wrong"] == 1
