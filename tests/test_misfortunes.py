"""Whatever befalls an output, the ways out end in the truth; more seeds in scripts/misfortune-sweep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.testing import Settings, running
from tests.harvesting import DAY, START, TOKEN_ENV


@pytest.mark.parametrize(("first", "last"), [(0, 4), (1196, 1200), (1008, 1009)])
def test_every_sequence_of_misfortunes_ends_with_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, first: int, last: int
) -> None:
    settings = Settings(records=200, end=START + 2 * DAY)
    with running(settings) as simulator:
        seeds = ["--seeds", str(first), str(last)]
        ended = subprocess.run(
            [sys.executable, "-m", "tests.misfortunes", simulator.url, str(tmp_path / "lives"), *seeds],
            env=os.environ | {TOKEN_ENV: settings.token},
            capture_output=True,
            text=True,
        )
    assert ended.stdout, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert (told["seeds"], told["wrong"]) == (last - first, {})
