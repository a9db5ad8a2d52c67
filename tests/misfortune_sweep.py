"""`python -m tests.misfortune_sweep [--seeds FIRST LAST]`: a simulator, and misfortunes of outputs."""

import os
import subprocess
import sys
import tempfile

from harvester.testing import Settings, running
from tests.harvesting import DAY, START, TOKEN_ENV


def main() -> int:
    settings = Settings(records=200, end=START + 2 * DAY)
    with (
        running(settings) as simulator,
        tempfile.TemporaryDirectory(prefix="harvester-misfortune-") as folder,
    ):
        command = [sys.executable, "-m", "tests.misfortunes", simulator.url, folder, *sys.argv[1:]]
        environment = os.environ | {TOKEN_ENV: settings.token}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
