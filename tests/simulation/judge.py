"""What a run left behind, against the truth: exact where it says so, and honest where it does not."""

import gzip
import hashlib
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.job import Outcome
from harvester.output.manifest import success_stands
from harvester.shards.formats import encoder
from harvester.windows import Span, merge, subtract
from tests.simulation.scenario import Record, Scenario

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HONEST: Final = {0, 3, 5, 6, 10, 75}
"""How a run may end in a story; 6 where not one good page ever came."""


def judge(
    out: Path, scenario: Scenario, asked: list[Span], told_of: list[Span], outcome: Outcome
) -> list[str]:
    """What is wrong, empty where nothing is. `asked` by all runs, `told_of` by those that came to an end."""
    if outcome.exit_code not in HONEST:
        return [f"exit code {outcome.exit_code}: {outcome.error}"]
    wrong: list[str] = []
    told = orjson.loads((out / "_manifest.json").read_bytes())
    spans = [
        Span(start=datetime.fromisoformat(span["start"]), end=datetime.fromisoformat(span["end"]))
        for span in told["spans"]
    ]
    if any(subtract(span, spans) for span in told_of) or any(subtract(span, merge(asked)) for span in spans):
        wrong.append(f"{spans} told, {told_of} asked")
    lines = [line for shard in told["shards"] for line in _lines(out / shard["path"], shard, wrong)]
    if told["records"] != len(lines):
        wrong.append(f"{told['records']} records told, {len(lines)} there")
    moved = {one.raw for one in scenario.records if one.moves}
    lines = [line for line in lines if line not in moved]  # there or not: nobody can be held to them
    truth = [one for one in scenario.truth(spans) if not one.moves]
    gaps = [(gap["start"], gap["end"]) for gap in told["gaps"]]
    moments = [orjson.loads(line)["StartedDateTimeUtc"] for line in lines]
    proven = [line for line, at in zip(lines, moments, strict=True) if not _in(at, gaps)]
    wanted = [one.raw for one in truth if not _in(_moment(one), gaps)]
    if proven != wanted:
        missing, foreign = set(wanted) - set(proven), set(proven) - set(wanted)
        wrong.append(f"{len(missing)} missing, {len(foreign)} foreign of {len(wanted)}; gaps {gaps}")
    known = {one.raw for one in scenario.records}
    if not known.issuperset(lines):
        wrong.append("a line that the source does not hold")
    if len({orjson.loads(line)["_id"] for line in lines}) != len(lines):
        wrong.append("a key stands twice")
    is_whole = not gaps
    if told["complete"] != is_whole or success_stands(out) != is_whole:
        wrong.append(f"complete is {told['complete']}, _SUCCESS {success_stands(out)}, gaps {gaps}")
    if outcome.exit_code == 3 and not outcome.gaps:
        wrong.append("exit code 3 without a gap that is named")
    if outcome.exit_code == 0:
        wrong += _exact(out, scenario, spans, told_of[-1], told, truth)
    return wrong


def _exact(
    out: Path, scenario: Scenario, spans: list[Span], last: Span, told: dict[str, Any], truth: list[Record]
) -> list[str]:
    """Of an output whose last run ended with 0."""
    wrong = []
    inside = [
        gap for gap in told["gaps"] if gap["start"] < _text(last.end) and gap["end"] > _text(last.start)
    ]
    if inside:
        wrong.append(f"exit code 0 with gaps in what was asked: {inside}")
    if told["gaps"] or any(one.moves for one in scenario.records):
        return wrong
    wanted = reference(scenario, truth)
    found = [(shard["partition"], shard["sha256"]) for shard in told["shards"]]
    if found != wanted:
        wrong.append(f"other bytes than those of an undisturbed run: {found} instead of {wanted}")
    named = {shard["path"] for shard in told["shards"]}
    there = {path.relative_to(out).as_posix() for path in out.glob("dt=*/*")}
    left = [path.name for path in out.glob("_harvest/staging/*")]
    if there != named or left:
        wrong.append(f"strangers: {sorted(there ^ named)}, in staging {left}")
    return wrong


def reference(scenario: Scenario, truth: list[Record]) -> list[tuple[str, str]]:
    """Partition and SHA-256 of each shard that the records must become, cut by their content alone."""
    shards: list[tuple[str, list[bytes]]] = []
    size_bytes = 0
    for one in truth:
        day = _moment(one)[:10]
        size_bytes += len(one.raw) + 1
        if not shards or shards[-1][0] != day or size_bytes > scenario.shard_bytes:
            shards.append((day, []))
            size_bytes = len(one.raw) + 1
        shards[-1][1].append(one.raw + b"\n")
    digests = []
    for day, lines in shards:
        packer = encoder(scenario.compression)
        packed = packer.encode(b"".join(lines)) + packer.finish()
        digests.append((day, hashlib.sha256(packed).hexdigest()))
    return digests


def _lines(path: Path, shard: dict[str, Any], wrong: list[str]) -> list[bytes]:
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != shard["sha256"]:
        wrong.append(f"{path.name}: not the SHA-256 that the manifest tells")
    if path.suffix == ".zst":
        packed = zstd.decompress(packed)
    elif path.suffix == ".gz":
        packed = gzip.decompress(packed)
    lines = packed.split(b"\n")
    if lines.pop():
        wrong.append(f"{path.name}: the last line has no end")
    return lines


def _moment(record: Record) -> str:
    return str(orjson.loads(record.raw)["StartedDateTimeUtc"])


def _in(moment: str, gaps: list[tuple[str, str]]) -> bool:
    return any(start <= moment < end for start, end in gaps)


def _text(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
