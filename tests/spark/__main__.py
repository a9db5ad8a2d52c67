"""`python -m tests.spark PYTHON FOLDER`: PYTHON has pyspark; FOLDER is made anew. The last line tells as JSON
what was compared; exit code 1 where Spark read another value.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import orjson

from harvester import dialects
from harvester.schema import read_schema
from harvester.shapes import EMPTY, Fields, Shape
from harvester.shards import read_lines
from harvester.shards.parquet import Converter
from tests.harvesting import World, live, manifest
from tests.test_parquet import same

RECORDS: Final = 2_000
Rows = dict[Any, dict[str, Any]]
"""By key."""
SURPRISES: Final = (
    b'{"n":1,"a":9223372036854775808,"b":0.1234567890123456789,"c":[{"x":[1,null]},null],"d":{"e":{"f":true}}}',
    b'{"n":2,"a":1,"b":-0.5,"c":[],"d":null,"g":"2024-02-29T23:59:59.999999Z","h":-0.0,"i":{},"j":[[1],[],null]}',
    b'{"n":9223372036854775807,"g":"1969-12-31T23:59:59.001Z","h":1e308,"i":{},"k":"\\ud83d\\ude00\\u0000","l":1}',
    b'{"n":-9223372036854775808,"g":"0400-02-29T00:00:00Z","h":5e-324,"k":"","l":"text","m":[],"o":[{"p":[]}]}',
    b'{"n":0,"g":"9999-12-31T23:59:59.999999Z","h":3,"q":9007199254740993,"r":{"s":[1.5,null]},"t":null}',
)
"""What columns are made of: ends of ranges, nothing in lists and structs, text of every kind."""


def main() -> int:
    python, folder = sys.argv[1], Path(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sent: dict[str, tuple[Rows, Shape, str]] = {}
    for dialect in ("interactions", "messages"):
        sent[dialect] = _harvested(folder, dialect)
    sent["surprises"] = _surprised(folder)
    environ = {**os.environ, "TZ": "UTC", "PYSPARK_PYTHON": python, "SPARK_LOCAL_IP": "127.0.0.1"}
    reader = Path(__file__).with_name("reader.py")
    told = subprocess.run(
        [python, str(reader), *(str(folder / name) for name in sent)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    report: dict[str, Any] = {"spark": told.stdout.split()[-1]}
    for name, (rows, shape, key) in sent.items():
        report[name] = _compared(pickle.loads((folder / f"{name}.pickle").read_bytes()), rows, shape, key)
    print(orjson.dumps(report).decode())
    return int(any(report[name]["different"] or report[name]["missing"] for name in sent))


def _harvested(folder: Path, name: str) -> tuple[Rows, Shape, str]:
    lines = folder / f"{name}-lines"

    async def story(world: World) -> None:
        for out, output in ((lines, {}), (folder / name, {"format": "parquet", "shard_bytes": 1_000_000})):
            outcome = await world.run(out=out, dialect=name, output=output)
            assert outcome.exit_code == 0, outcome.error

    live(folder, story, records=RECORDS, messages=RECORDS)
    key = dialects.load(name).key_fields[0]
    shape = read_schema(lines, progress=lambda _: None).shape
    rows = [line for shard in manifest(lines)["shards"] for line in read_lines(lines / shard["path"])]
    return _by_key(rows, key), shape, key


def _surprised(folder: Path) -> tuple[Rows, Shape, str]:
    path = folder / "surprises" / "dt=2024-01-01" / "part-00000.parquet"
    path.parent.mkdir(parents=True)

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with path.open("wb") as file:
            yield file

    Converter(EMPTY, declared=EMPTY, timestamps="typed").convert(lambda: list(SURPRISES), opened)
    fields = Fields()
    fields.add(SURPRISES)
    return _by_key(SURPRISES, "n"), fields.shape(), "n"


def _by_key(lines: Any, key: str) -> Rows:
    rows = (json.loads(line, parse_float=Decimal) for line in lines)
    return {row[key]: row for row in rows}


def _compared(read: dict[str, Any], sent: Rows, shape: Shape, key: str) -> dict[str, Any]:
    """Each row that Spark read against the one that was sent; partition columns are of the folder."""
    different: list[str] = []
    values = 0
    for row in read["rows"]:
        found = _zoned({name: value for name, value in row.items() if name != "dt"})
        values += len(found)
        was = sent.pop(found[key], None)
        if was is None:
            different.append(f"{found[key]}: was not sent")
            continue
        for name, one in shape.members:
            _try(lambda: same(was.get(name), found[name], one), f"{found[key]}: {name}", different)  # noqa: B023
    return {
        "rows": len(read["rows"]),
        "values": values,
        "types": sorted(set(read["types"].values())),
        "different": different[:10],
        "missing": len(sent),
    }


def _try(compare: Callable[[], None], what: str, different: list[str]) -> None:
    try:
        compare()
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        different.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")


def _zoned(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    if isinstance(value, list):
        return [_zoned(one) for one in value]
    if isinstance(value, dict):
        return {name: _zoned(one) for name, one in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
