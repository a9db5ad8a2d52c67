"""Readers of what an output says of itself: manifest, ledger and shards, as `verify`, `rebuild-ledger`,
`status`, `schema` and the next run read them back.

Each target spoils a fresh copy of a small good output and asks all of them. They may find whatever they like
wrong with it; what they raise is a finding, but for our own errors.
"""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import zlib
from argparse import ArgumentParser
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import anyio

from harvester import dialects
from harvester.cli.commands import COMMANDS
from harvester.errors import HarvesterError
from harvester.job import Job
from harvester.ledger import Ledger, home_of
from harvester.output.manifest import iso
from harvester.scheduler import Harvest
from harvester.testing.server import Simulator
from harvester.testing.settings import Settings
from tests.fuzz.edits import MARK, ODD, document
from tests.fuzz.scratch import scratch
from tests.harvesting import DAY, START, TOKEN_ENV, HastyClock, settings

MANIFEST: Final = "_manifest.json"
_LEDGER: Final = "ledger.sqlite"
_NOWHERE: Final = "http://127.0.0.1:9"
_SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_TABLES: Final = ("meta", "spans", "windows", "builds", "shards", "garbage", "repairs")
_IS_EDIT: Final = 0x80
_UNFORESEEN: Final = 1


def manifest(data: bytes) -> None:
    out = _fresh()
    _tell(out, document(data, _good_manifest(), json.dumps))
    _ask_all(out, data)


def ledger(data: bytes) -> None:
    """Bytes of the file replaced, or values in its tables, or no ledger at all but what was given."""
    out = _fresh()
    path = home_of(out) / _LEDGER
    if data.startswith(MARK):
        _edit_tables(path, data[1:])
    elif data.startswith(b"SQLite"):
        path.write_bytes(data)
    else:
        whole = bytearray(path.read_bytes())
        for at in range(0, len(data) - 3, 4):
            place = int.from_bytes(data[at : at + 3], "big") % len(whole)
            whole[place] = data[at + 3]
        path.write_bytes(whole)
    _ask_all(out, data)


def shard(data: bytes) -> None:
    """Whatever lines stand there, manifest and ledger know them by size and digest, so that they are read."""
    if not data:
        return
    out = _fresh()
    suffix = _SUFFIXES[data[0] % len(_SUFFIXES)]
    content = data[1:]
    told = json.loads((out / MANIFEST).read_bytes())
    del told["digest"]
    one = told["shards"][0]
    (out / one["path"]).unlink()
    lines = content.split(b"\n")[:-1]
    before = one["path"]
    one |= {
        "path": f"{one['path'].split('.')[0]}{suffix}",
        "bytes": len(content),
        "raw_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "records": len(lines),
    }
    times = _times(told["job"]["reading"], lines)
    if times:
        one |= {"first": times[0], "last": times[-1]}
    (out / one["path"]).write_bytes(content)
    for partition in told["partitions"]:
        inside = [each for each in told["shards"] if each["partition"] == partition["partition"]]
        partition["records"] = sum(each["records"] for each in inside)
    told["records"] = sum(partition["records"] for partition in told["partitions"])
    _tell(out, json.dumps(told).encode())
    with closing(sqlite3.connect(home_of(out) / _LEDGER)) as db, db:
        db.execute(
            "UPDATE shards SET path = ?, size_bytes = ?, sha256 = ?, records = ?, raw_bytes = ? "
            "WHERE path = ?",
            (one["path"], one["bytes"], one["sha256"], one["records"], one["raw_bytes"], before),
        )
    _ask_all(out, data)


# --- who is asked


def _ask_all(out: Path, data: bytes) -> None:
    """Each is asked for some of the inputs, so that a second sees ten inputs and not two."""
    turn = zlib.crc32(data)
    flags = ["--json"] if turn & 8 else []
    match turn % 5:
        case 0 | 1:
            _command(("verify", "schema")[turn % 5], str(out), *flags)
        case 2:
            _command("status", str(out), *flags)
            _command("rebuild-ledger", str(out), *flags)
        case 3:
            _go_on()
        case _:
            if _command("rebuild-ledger", str(out), "--force", "--repair", *flags):
                with Ledger(home_of(out), read_only=True) as rebuilt:
                    assert rebuilt.job() is not None


def _command(name: str, *words: str) -> bool:
    """Whether it did what it was told. What is none of our errors gets out."""
    module = import_module(COMMANDS[name].module)
    parser = ArgumentParser()
    module.add_arguments(parser)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(HarvesterError):
        code = module.run(parser.parse_args(words))
        assert code != _UNFORESEEN
        return bool(code == 0)
    return False


def _go_on() -> None:
    """The next run, to which the source does not answer."""

    async def run() -> int:
        return (await Harvest(_job(), clock=HastyClock()).run()).exit_code

    with suppress(HarvesterError):
        assert anyio.run(run) != _UNFORESEEN


@cache
def _job() -> Job:
    patience = {"max_attempts": 1, "max_outage_s": 0.0, "concurrency": 1}
    return settings(_out(), _NOWHERE, output=_OUTPUT, transport=patience)


# --- what it is done to

_OUTPUT: Final[dict[str, Any]] = {"compression": "none", "shard_bytes": 20_000}


@cache
def _good() -> Path:
    """Two days of a few records, complete."""
    out = scratch() / "good"

    async def harvest() -> int:
        os.environ[TOKEN_ENV] = Settings().token
        async with Simulator(Settings(records=12, end=START + 2 * DAY)).start() as simulator:
            job = settings(out, simulator.url, output=_OUTPUT)
            return (await Harvest(job, clock=HastyClock()).run()).exit_code

    assert anyio.run(harvest) == 0
    return out


@cache
def _good_manifest() -> Any:
    """Without the digest, which would tell of every edit before anything else is looked at."""
    told = json.loads((_good() / MANIFEST).read_bytes())
    del told["digest"]
    return told


def _tell(out: Path, content: bytes) -> None:
    """`_SUCCESS` vouches for it, as for a manifest of a version without digests."""
    (out / MANIFEST).write_bytes(content)
    (out / "_SUCCESS").write_text(hashlib.sha256(content).hexdigest())


def _out() -> Path:
    return scratch() / "out"


def _fresh() -> Path:
    out = _out()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(_good(), out)
    return out


def _edit_tables(path: Path, data: bytes) -> None:
    """Four bytes each: which table, row and column, and the value that is put there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for at in range(0, min(len(data), 32) - 3, 4):
            table = _TABLES[data[at] % len(_TABLES)]
            told = db.execute(f"PRAGMA table_info({table})").fetchall()
            columns = [name for _, name, *_ in told]
            keys = [name for _, name, *_, is_key in told if is_key]
            rows = db.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall()
            if not rows:
                continue
            row = rows[data[at + 1] % len(rows)]
            value = ODD[data[at + 3] % len(ODD)]
            if data[at + 2] & _IS_EDIT or isinstance(value, dict | list) or value == "\ud800":
                value = json.dumps(value)
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                value = str(value)
            column = columns[data[at + 2] % len(columns)]
            with suppress(sqlite3.IntegrityError):
                place = " AND ".join(f"{name} = ?" for name in keys)
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {place}", (value, *row))


def _times(reading: Any, lines: list[bytes]) -> list[str]:
    read = dialects.row_reader(reading)
    with suppress(ValueError, OverflowError):
        return [iso(read(line)[0]) for line in lines]
    return []
