"""Whatever two damages meet an output, the advice of the commands ends in the truth; more in
scripts/damage-sweep.
"""

from pathlib import Path

from harvester.testing import running
from tests.damages.sweep import SETTINGS, Sweep

SEEDS = (7, 25, 30, 76, 94, 127, 165, 214, 221, 267, 454, 521)
"""Those among them that something was wrong with once, or that see the digest of manifests ignored."""
OF_ANOTHER = range(16)
"""Played with the manifest of another output as one of the two."""


def test_every_pair_of_damages_is_named_and_mended_as_the_commands_advise(tmp_path: Path) -> None:
    with running(SETTINGS) as simulator:
        sweep = Sweep(simulator, tmp_path)
        plays = [(seed, False) for seed in SEEDS] + [(seed, True) for seed in OF_ANOTHER]
        ends = {play: sweep.play(play[0], of_another=play[1]) for play in plays}
    assert {play: (wrong, played) for play, (_, wrong, played) in ends.items() if wrong} == {}
    assert {end for end, _, _ in ends.values()} == {"mended", "begun anew"}
