"""`python -m tests.crash_sweep [--every N] [--recoveries N]`: a simulator and a sweep over crash points."""

import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

import anyio

from tests.harvesting import World, live


def main() -> int:
    codes: list[int] = []

    async def story(world: World) -> None:
        command = [sys.executable, "-m", "tests.crashing", world.simulator.url, folder, *sys.argv[1:]]
        done = await anyio.run_process(command, stdout=PIPE, stderr=None, check=False)
        sys.stdout.write(done.stdout.decode())
        codes.append(done.returncode)

    with tempfile.TemporaryDirectory(prefix="harvester-crash-") as folder:
        live(Path(folder), story, records=300)
    return codes[0]


if __name__ == "__main__":
    sys.exit(main())
