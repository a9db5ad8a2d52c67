"""What else does this work, each in an environment of its own: `scripts/bench --peers`.

Every contestant asks for the same windows in pages of 1000 and leaves gzip'ed JSON Lines, or the Airbyte CDK
its messages, which is what it makes. Their records are held against the simulator's truth by their keys, each
once: they write values anew, so bytes cannot be compared. What harvester makes is compared byte by byte.
"""

import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.testing.truth import fetch_truth
from tests.benchmarks.checks import Wrong, lines_of
from tests.benchmarks.contestants import Contestant, Workshop
from tests.benchmarks.sections import SCRIPT, Order, Report

HERE: Final = Path(__file__).parent
RECORDS: Final = 50_000
PACKAGES: Final = {
    "requests_loop": "requests==2.34.2",
    "with_dlt": "dlt==1.31.0",
    "with_airbyte": "airbyte-cdk==7.39.1",
}
NAMES: Final = {
    "requests_loop": "for-loop with requests, gzip 9",
    "with_dlt": "dlt 1.31.0, gzip",
    "with_airbyte": "Airbyte CDK 7.39.1, messages",
}


def peers(order: Order) -> list[Report]:
    """50,000 records of 3 KB over 7 days beside dlt, the Airbyte CDK, a loop with requests and a script."""
    pythons = {name: _python(order, name, package) for name, package in PACKAGES.items()}
    with order.workshop(records=RECORDS, end="2024-01-08") as shop:
        keys = Counter(line["key"] for line in fetch_truth(shop.server.url))
        contestants = [
            shop.harvester("harvester, zstd"),
            shop.harvester("harvester, gzip", compression="gzip"),
            shop.script(SCRIPT),
            *(_peer(shop, name, python, keys) for name, python in pythons.items()),
        ]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        return [
            Report(
                section="peers",
                title=f"{shop.server.records:,} records of 3 KB, 7 days, hour windows, pages of 1000",
                rows=list(runs.values()),
                units=dict.fromkeys(runs, shop.server.records),
                against=["harvester, gzip"],
            )
        ]


def _python(order: Order, name: str, package: str) -> Path:
    """An environment with the package, made once."""
    folder = order.folder / f"peer-{package}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        order.say(f"  installing {package} in {folder}")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return python


def _peer(shop: Workshop, name: str, python: Path, keys: "Counter[str]") -> Contestant:
    def command(place: Path) -> list[str]:
        (place / "files").mkdir()
        span = f"{shop.server.start.isoformat()} {shop.server.end.isoformat()}"
        into = f">{place}/files/messages.jsonl" if name == "with_airbyte" else ""
        quiet = "RUNTIME__DLTHUB_TELEMETRY=false DO_NOT_TRACK=1"
        words = f"cd {HERE} && {quiet} {python} -m {name} {shop.server.url} {span} {place}/files {into}"
        return ["bash", "-c", words]

    def check(place: Path) -> None:
        found = Counter(map(_key, _records(place / "files")))
        if found != keys:
            raise Wrong(
                f"{name}: {len(keys - found)} records are missing, {(found - keys).total()} are too many"
            )

    return Contestant(name=NAMES[name], command=command, check=check)


def _records(folder: Path) -> Any:
    """Of JSON Lines, with what dlt notes for itself left out, or of messages."""
    for path in sorted(folder.rglob("*.jsonl*")):
        if not path.relative_to(folder).parts[-2:][0].startswith("_dlt"):
            for line in lines_of(path):
                record = orjson.loads(line)
                if record.get("type", "RECORD") == "RECORD":
                    yield record["record"]["data"] if "record" in record else record


def _key(record: dict[str, Any]) -> str:
    return str(record["_id"])
