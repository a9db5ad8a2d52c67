"""Whatever two damages meet an output, the advice of the commands ends in the truth; more in
scripts/damage-sweep.
"""

from pathlib import Path

from harvester.testing import running
from tests.damages.sweep import SETTINGS, Sweep

SEEDS = (7, 25, 30, 76, 94, 127, 165, 214, 221, 267, 454, 521)
"""Those among them that something was wrong with once, or that see the digest of manifests ignored."""


def test_every_pair_of_damages_is_named_and_mended_as_the_commands_advise(tmp_path: Path) -> None:
    with running(SETTINGS) as simulator:
        sweep = Sweep(simulator, tmp_path)
        ends = {seed: sweep.play(seed) for seed in SEEDS}
    assert {seed: (wrong, played) for seed, (_, wrong, played) in ends.items() if wrong} == {}
    assert {end for end, _, _ in ends.values()} == {"mended", "begun anew"}
