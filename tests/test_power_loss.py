"""The power goes: a sample of what a disk may hold then; all of it in scripts/power-loss-sweep."""

import pytest

from tests.disks.mutants import LOSING
from tests.disks.runs import swept


@pytest.mark.parametrize(("story", "again"), [("plain", 1), ("parquet", 0)])
def test_whatever_a_power_loss_leaves_the_next_run_ends_with_the_bytes_of_an_undisturbed_one(
    story: str, again: int
) -> None:
    """After a shard was linked, and it, the manifest and `_SUCCESS` were renamed, in both runs; after all;
    and in the recovery from a kill and from a loss.
    """
    options = ["--first", "--kind", "link,rename", "--drawn", "1", "--again", str(again)]
    code, told = swept("tests.disks.losing", options, story=story)
    assert (code, told["wrong"]) == (0, [])
    assert told["recovered"] == told["states"] >= 9  # at each of these points all may have survived
    assert told.get("killed", 0) == again


@pytest.mark.parametrize("mutant", LOSING)
def test_without_a_sync_or_its_order_something_is_lost(mutant: str) -> None:
    _, told = swept("tests.disks.losing", ["--mutant", mutant, "--until-wrong", "1"], story="plain")
    assert told["number wrong"] == 1
