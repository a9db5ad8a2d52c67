"""See sweep.py. Prints one JSON line; not 0 where something was wrong."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from harvester.testing import running
from tests.damages.sweep import SETTINGS, Sweep


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 300), metavar=("FIRST", "LAST"))
    args = parser.parse_args()
    with running(SETTINGS) as simulator, tempfile.TemporaryDirectory(prefix="harvester-damages-") as folder:
        told = Sweep(simulator, Path(folder)).sweep(range(*args.seeds))
    print(json.dumps(told))
    return bool(told["number wrong"])


if __name__ == "__main__":
    sys.exit(main())
