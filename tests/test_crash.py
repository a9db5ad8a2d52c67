"""Killed anywhere: at a fixed sample of operations here, at all of them in scripts/crash-sweep."""

import sys
from pathlib import Path
from subprocess import PIPE

import anyio
import orjson

from tests.harvesting import World, live


def test_a_run_that_is_killed_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.crashing",
            world.simulator.url,
            str(tmp_path / "sweep"),
            "--every",
            "37",
        ]
        done = await anyio.run_process(command, stderr=PIPE, check=False)
        report = orjson.loads(done.stdout.splitlines()[-1])
        assert report["wrong"] == [], done.stderr.decode()
        assert report["killed"] >= report["recovered"] >= 8

    live(tmp_path, story, records=300)
