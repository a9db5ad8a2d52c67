"""What a perfect harvest must hold, and the difference between that and what a harvest does hold.

The truth is told as lines of JSON: `key`, `version`, `time` and `crc` (CRC-32 of the record's bytes as a
perfect harvest stores them, one line without its end). Two marks make a line lenient, since no harvest can be
held to it: `moved`, the record was inserted, deleted or written again while the server ran (the mark lists
checksum and time of what it was before); and `damaged`, it is served spoilt (the mark lists the checksum of
that).

`compare` answers with one Difference. A harvested record is *foreign* when the truth has no such key,
*doubled* when its key came before (one that moved may be there in versions of other times), *stale* when
its version is older than the truth's, *changed* when its bytes differ otherwise; what no harvested record
accounts for is *missing*.
"""

import gzip
import sys
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson

from .datasets import digest
from .faults import Fault
from .query import Query, project
from .rows import Rows
from .spoil import damage, is_damaged
from .table import Table, time_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@dataclass(slots=True)
class Difference:
    """Keys by what is wrong with them. False when nothing is: `assert not compare(...)`."""

    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    records: int = 0  # harvested
    expected: int = 0

    def __bool__(self) -> bool:
        return bool(self.missing or self.doubled or self.stale or self.foreign or self.changed)

    def report(self, samples: int = 10) -> dict[str, Any]:
        """Counts, and a few keys of each kind."""
        kinds = ("missing", "doubled", "stale", "foreign", "changed")
        return {
            "exact": not self,
            "expected": self.expected,
            "records": self.records,
            **{kind: len(getattr(self, kind)) for kind in kinds},
            "samples": {kind: getattr(self, kind)[:samples] for kind in kinds if getattr(self, kind)},
        }

    def __repr__(self) -> str:
        return f"Difference({orjson.dumps(self.report()).decode()})"


def truth(
    table: Table, query: Query, *, rows: Rows, faults: Iterable[Fault] = (), strict: bool = False
) -> Iterator[dict[str, Any]]:
    """The lines for all records with `start <= t < end` that pass the query's filter and queues.

    `strict` asks for the present state alone, as a harvest that begins now must find it.
    """
    damages = [fault for fault in faults if fault.name == "record"]
    touched = frozenset[str]() if strict else table.touched
    before: dict[str, list[list[int | None]]] = {}
    for raw in () if strict else table.gone():
        line = _line(raw, query)
        before.setdefault(line["key"], []).append([line["crc"], line["time"]])
    for number in rows.selected(table, query, "exclusive", {}):
        raw = bytes(table.row(number))
        line = _line(raw, query)
        if line["key"] in touched:
            line["moved"] = before.pop(line["key"], [])
        for fault in damages:
            if is_damaged(line["key"], fault.options["one_in"]):
                spoilt = zlib.crc32(damage(fault.value, raw, table.fields))
                line["damaged"] = [*line.get("damaged", ()), spoilt]
        yield line
    for key, versions in before.items():
        yield {"key": key, "version": "", "time": None, "crc": versions[-1][0], "moved": versions}


def compare(
    lines: Iterable[Mapping[str, Any]], records: Iterable[bytes], dataset: str = "interactions"
) -> Difference:
    """`lines` of the truth against harvested records, each the bytes of one line without its end."""
    expected: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        known = expected.get(line["key"])
        if known is None or line["version"] >= known["version"]:
            expected[line["key"]] = line
    difference = Difference(expected=sum(not _lenient(line) for line in expected.values()))
    seen: set[str] = set()
    places: dict[str, set[int | None]] = {}
    for raw in records:
        difference.records += 1
        key, version, crc = _read(raw, dataset)
        line_of_key = expected.get(key)
        if line_of_key is None:
            difference.foreign.append(key)
        elif key in seen and _place(crc, line_of_key) in places.get(key, {_place(crc, line_of_key)}):
            difference.doubled.append(key)
        elif not _is_allowed(crc, line_of_key):
            older = version < line_of_key["version"]
            (difference.stale if older else difference.changed).append(key)
        seen.add(key)
        if line_of_key is not None and "moved" in line_of_key:
            places.setdefault(key, set()).add(_place(crc, line_of_key))
    difference.missing = [key for key, line in expected.items() if key not in seen and not _lenient(line)]
    return difference


def harvested(out: Path | str) -> Iterator[bytes]:
    """The records of an output folder, shard by shard as its manifest lists them."""
    root = Path(out)
    for shard in orjson.loads((root / "_manifest.json").read_bytes())["shards"]:
        yield from _lines(root / shard["path"])


def fetch_truth(url: str, **asked: str) -> Iterator[dict[str, Any]]:
    """The lines of `/_simulator/truth` of the simulator at `url`."""
    query = urllib.parse.urlencode({name: value for name, value in asked.items() if value})
    with urllib.request.urlopen(f"{url.rstrip('/')}/_simulator/truth?{query}", timeout=600) as answer:
        rest = b""
        while block := answer.read(1 << 20):  # unlike its lines, its blocks tell when the answer is cut short
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield orjson.loads(line)


def compare_output(out: Path | str, url: str, **asked: str) -> Difference:
    """`asked` narrows the truth: dataset, start, end, date_field, fields, queues, filter, strict."""
    dataset = (asked.get("dataset") or "interactions").removeprefix("agent-workstate-")
    return compare(fetch_truth(url, **asked), harvested(out), dataset)


def _is_allowed(crc: int | str, line: Mapping[str, Any]) -> bool:
    was = (version for version, _ in line.get("moved", ()))
    return crc == line["crc"] or crc in was or crc in line.get("damaged", ())


def _place(crc: int | str, line: Mapping[str, Any]) -> int | None:
    """When the version of that checksum stands: where it moved, one record is in several windows."""
    at: int | None = next((at for version, at in line.get("moved", ()) if version == crc), line["time"])
    return at


def _lenient(line: Mapping[str, Any]) -> bool:
    return "moved" in line or "damaged" in line


class _Known(msgspec.Struct):
    """The two fields of a harvested record that the comparison goes by."""

    key: str = msgspec.field(name="_id", default="")
    version: str = msgspec.field(name="RecordWrittenAtUtc", default="")


_KNOWN = msgspec.json.Decoder(_Known)


def rollup_line(raw: bytes, window_start: datetime) -> dict[str, Any]:
    """A rollup row has no key: it is known by its window and agent, and compared by content."""
    agent = orjson.loads(raw)["agentId"]
    start = window_start.astimezone(UTC).isoformat()
    return {"key": f"{start}/{agent}", "version": "", "time": start, "crc": digest(raw)}


def _line(raw: bytes, query: Query) -> dict[str, Any]:
    known = _KNOWN.decode(raw)
    at = time_of(raw, query.date_field)
    stored = project(raw, query.fields) if query.fields else raw
    return {"key": known.key, "version": known.version, "time": at, "crc": zlib.crc32(stored)}


def _read(raw: bytes, dataset: str) -> tuple[str, str, int | str]:
    """Key, version and checksum of a harvested line; the empty key for what cannot be read."""
    try:
        if dataset == "rollup":
            row = orjson.loads(raw)
            start = datetime.fromisoformat(row.pop("_window_start")).astimezone(UTC).isoformat()
            row.pop("_window_end")
            return f"{start}/{row['agentId']}", "", digest(orjson.dumps(row))
        known = _KNOWN.decode(raw)
        return known.key, known.version, zlib.crc32(raw)
    except (ValueError, KeyError, AttributeError):
        return "", "", 0


def _lines(path: Path) -> Iterator[bytes]:
    openers: dict[str, Any] = {".jsonl": open, ".gz": gzip.open, ".zst": zstd.open}
    if path.suffix not in openers:
        raise ValueError(f"{path}: only .jsonl, .jsonl.gz and .jsonl.zst can be compared byte by byte")
    with openers[path.suffix](path, "rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")
