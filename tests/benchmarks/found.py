"""Questions of finding: whether `verify --source` names the one record of a million that is not as the source
has it, and nothing else.

The output is one shard of slim records. It is changed behind the manifest's back, asked about by the command,
and put back.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.output import read_manifest
from tests.benchmarks.checks import Wrong
from tests.benchmarks.contestants import Workshop
from tests.benchmarks.measure import clean, cost_of, tail
from tests.benchmarks.sections import Goal, Order, Report
from tests.zstd import zstd

SAMPLE: Final = 0.25
_HEAD: Final = ("", "exit code", "named", "not named", "named wrongly", "requests", "wall s")

Lines = list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    name: str
    change: Callable[[Lines], tuple[Lines, set[str]]]
    """The lines as they are left in the shard, and the keys that have to be named."""
    kind: str
    flags: Sequence[str] = ()
    most: float = 0
    """Share of the keys that may go unnamed."""


def _untouched(lines: Lines) -> tuple[Lines, set[str]]:
    return lines, set()


def _removed(lines: Lines) -> tuple[Lines, set[str]]:
    at = 2 * len(lines) // 3
    return [*lines[:at], *lines[at + 1 :]], {_key(lines[at])}


def _changed(lines: Lines) -> tuple[Lines, set[str]]:
    """The last digit of its agent."""
    at = len(lines) // 7
    line = bytearray(lines[at])
    digit = line.index(b',"RecordWrittenAtUtc"') - 1
    line[digit] = ord("0") + (line[digit] - ord("0") + 1) % 10
    return [*lines[:at], bytes(line), *lines[at + 1 :]], {_key(lines[at])}


def _made_up(lines: Lines) -> tuple[Lines, set[str]]:
    at = len(lines) // 2
    made_up = lines[at].replace(_key(lines[at]).encode(), b"f" * 24)
    return [*lines[:at], made_up, *lines[at:]], {"f" * 24}


def _one_each_hour(lines: Lines) -> tuple[Lines, set[str]]:
    every = len(lines) // 24
    gone = set(range(every // 2, len(lines), every))
    return [line for at, line in enumerate(lines) if at not in gone], {_key(lines[at]) for at in gone}


TRIALS: Final = (
    Trial(name="as harvested", change=_untouched, kind=""),
    Trial(name="a record removed", change=_removed, kind="missing"),
    Trial(name="a digit changed", change=_changed, kind="changed"),
    Trial(name="a record made up", change=_made_up, kind="gone"),
    Trial(
        name=f"a record of each hour removed, --sample {SAMPLE}",
        change=_one_each_hour,
        kind="missing",
        flags=("--sample", str(SAMPLE), "--seed", "1"),
        most=1 - SAMPLE,
    ),
)


def verify(order: Order) -> list[Report]:
    """One record of a shard of 1,000,000 changed: `verify --source` names it; --rounds has no say."""
    table: list[tuple[str, ...]] = [_HEAD]
    goals = []
    with order.workshop(records=1_000_000, end="2024-01-02", flags=["--slim", "--rhythm", "flat"]) as shop:
        environ = {**shop.server.environ, "HARVESTER_OUTPUT__SHARD_BYTES": str(2**30)}
        place = shop.folder / "verified"
        place.mkdir()
        one = shop.harvester("", resolution="Auto")
        cost_of(one.command(place), place, environ)
        one.check(place)
        (shard,) = read_manifest(place / "out").shards
        path = place / "out" / shard.path
        whole = path.read_bytes()
        lines = zstd.decompress(whole).splitlines()
        for trial in TRIALS:
            left, wanted = trial.change(lines)
            path.write_bytes(whole if left is lines else zstd.compress(b"\n".join([*left, b""]), 1))
            shop.say(f"  {trial.name}")
            row, kinds, named = _asked(shop, place, environ, trial, wanted)
            table.append(row)
            unnamed, wrongly = len(wanted - named), len(named - wanted)
            if kinds - {trial.kind}:
                raise Wrong(f"{trial.name}: called {', '.join(sorted(kinds))}")
            goals += [
                Goal(what=f"not named, {trial.name}", found=unnamed, limit=trial.most * len(wanted)),
                Goal(what=f"named wrongly, {trial.name}", found=wrongly, limit=0),
            ]
        records = shop.server.records
    return [
        Report(
            section="verify",
            title=f"verify --source on one shard of {records:,} records",
            rows=[],
            goals=goals,
            counted=table,
        )
    ]


def _asked(
    shop: Workshop, place: Path, environ: dict[str, str], trial: Trial, wanted: set[str]
) -> tuple[tuple[str, ...], set[str], set[str]]:
    """The row of the table, the kinds that were found, and the keys that were named."""
    command = [sys.executable, "-m", "harvester", "verify", str(place / "out"), "--json"]
    command += ["--source", str(place / "job.toml"), *trial.flags]
    shop.server.reset()
    began = time.monotonic()
    with (place / "said").open("wb") as said:
        asked = subprocess.run(command, stdout=subprocess.PIPE, stderr=said, env=clean(environ), check=False)
    wall_s = time.monotonic() - began
    if asked.returncode != (4 if wanted else 0):
        raise Wrong(f"{trial.name}: ended with {asked.returncode}: {tail(place / 'said')}")
    source: dict[str, Any] = orjson.loads(asked.stdout)["source"]
    named = {str(finding["key"]) for finding in source["findings"]}
    row = (
        trial.name,
        str(asked.returncode),
        str(len(wanted & named)),
        str(len(wanted - named)),
        str(len(named - wanted)),
        f"{shop.server.stats()['requests']:,}",
        f"{wall_s:.1f}",
    )
    return row, {str(finding["kind"]) for finding in source["findings"]}, named


def _key(line: bytes) -> str:
    return str(orjson.loads(line)["_id"])


FINDING: Final[dict[str, Callable[[Order], list[Report]]]] = {"verify": verify}
