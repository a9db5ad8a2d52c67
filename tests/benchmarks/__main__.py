"""`scripts/bench [SECTION...] [--rounds N] [--json]`: measures harvester beside what people use and beside
the floor.

Each contestant is a whole process, measured by the kernel (CPU is user + system, start included), all of
them in turn. A run of harvester whose output is not exactly the simulator's truth does not count: it ends
the benchmark.
"""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

import orjson

from tests.benchmarks import machine, table
from tests.benchmarks.checks import Wrong
from tests.benchmarks.counts import COUNTS
from tests.benchmarks.found import FINDING
from tests.benchmarks.limits import LIMITS
from tests.benchmarks.measure import Failed
from tests.benchmarks.peers import peers
from tests.benchmarks.sections import SECTIONS as FIRST
from tests.benchmarks.sections import Order

SECTIONS = FIRST | LIMITS | COUNTS | FINDING
WITH_PEERS = SECTIONS | {"peers": peers}
"""The last one installs what it compares with, so it has to be asked for."""


def main() -> int:
    given = _given()
    folder = given.folder or Path(tempfile.gettempdir()) / f"harvester-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        print(f"bench: {folder} belongs to somebody else; name another with --folder", file=sys.stderr)
        return 2
    order = Order(folder=folder, rounds=given.rounds, scale=given.scale, only=given.only, say=_say)
    command = shlex.join(["scripts/bench", *sys.argv[1:]])
    told = {"command": f"`{command}`", **machine.described()}
    reports = []
    for name in [*(given.sections or ([] if given.peers else SECTIONS)), *["peers"] * given.peers]:
        _say(f"{name}: {WITH_PEERS[name].__doc__}")
        try:
            reports += WITH_PEERS[name](order)
        except (Wrong, Failed) as error:
            _say(f"bench: {name}: {error}")
            return 1
    if given.json:
        print(orjson.dumps(table.as_json(told, reports, given.rounds), option=orjson.OPT_INDENT_2).decode())
    else:
        print(table.markdown(told, reports))
    return 0


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about = "; ".join(f"{name}: {section.__doc__}" for name, section in SECTIONS.items())
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"all of them, or some of these. {about}"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help=f"{peers.__doc__} What is compared with is installed, each by itself",
    )
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up (%(default)s)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="contestants named so; repeatable"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the records, for trying it out (%(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, help="for rendered records, which are kept, and outputs, which are not"
    )
    parser.add_argument("--json", action="store_true", help="every run's figures, for machines")
    given = parser.parse_args()
    unknown = [name for name in given.sections if name not in SECTIONS]
    if unknown or given.rounds < 1 or given.scale <= 0:
        parser.error(f"sections are {', '.join(SECTIONS)}; rounds are 1 at least, and the scale is above 0")
    return given


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
