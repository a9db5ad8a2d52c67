"""Whether a contestant's result is right: harvester's byte by byte, the others' by count."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from isal import igzip

from tests.benchmarks.measure import clean
from tests.benchmarks.server import Server
from tests.zstd import zstd

Digests = dict[str, str]
_BLOCK_BYTES = 1 << 20
_COMPARE = "from harvester.testing.compare import main; raise SystemExit(main())"


class Wrong(Exception):
    """A result that does not count."""


def digests(out: Path) -> Digests:
    """SHA-256 of each shard by its path, as the files are and not as the manifest tells."""
    told = orjson.loads((out / "_manifest.json").read_bytes())
    found = {}
    for shard in told["shards"]:
        with (out / shard["path"]).open("rb") as file:
            found[shard["path"]] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


class Exact:
    """Compares outputs with the simulator's truth. One whose shards have the bytes of an output that was
    compared before is as right as that one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._right: list[Digests] = []

    def check(self, out: Path, *, start: str = "", end: str = "") -> Digests:
        if not (out / "_SUCCESS").exists():
            raise Wrong(f"{out}: no _SUCCESS")
        found = digests(out)
        if found not in self._right:
            # In a process of its own: a comparison of millions of records would swell this one.
            command = [sys.executable, "-c", _COMPARE, str(out), self._server.url]
            command += [f"--start={start}"] * bool(start) + [f"--end={end}"] * bool(end)
            compared = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            if compared.returncode:
                raise Wrong(f"{out}: {compared.stdout.decode()}")
            self._right.append(found)
        return found


class Values:
    """Compares tables with the records that the simulator serves, by value. Tables with the bytes of some
    that were compared before are as right as those."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._right: list[Digests] = []

    def check(self, place: Path) -> None:
        """Asks `harvester verify --source`, which compares every value."""
        found = digests(place / "out")
        if found in self._right:
            return
        command = [sys.executable, "-m", "harvester", "verify", str(place / "out"), "--source"]
        compared = subprocess.run(
            [*command, str(place / "job.toml")],
            stdout=subprocess.PIPE,
            env=clean(self._server.environ),
            check=False,
        )
        if compared.returncode:
            raise Wrong(f"{place / 'out'}: {compared.stdout.decode()}")
        self._right.append(found)


def check_lines(folder: Path, expected: int) -> None:
    """The script's files, by count."""
    found = sum(block.count(b"\n") for path in sorted(folder.glob("*.jsonl*")) for block in _blocks(path))
    if found != expected:
        raise Wrong(f"{folder}: {found} lines, expected {expected}")


def check_bodies(path: Path, expected: int) -> None:
    """Whole answers one after the other, by the count of their records' keys."""
    found, rest = 0, b""
    for block in _blocks(path):
        text = rest + block
        found += text.count(b'{"_id":')
        rest = text[-6:]  # a key cut by the border is counted with the next block, and none twice
    if found != expected:
        raise Wrong(f"{path}: {found} records, expected {expected}")


def lines_of(path: Path) -> Iterator[bytes]:
    rest = b""
    for block in _blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        raise Wrong(f"{path}: the last line has no end")


def _blocks(path: Path) -> Iterator[bytes]:
    openers: dict[str, Any] = {".gz": igzip.open, ".zst": zstd.open}
    with openers.get(path.suffix, open)(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
