"""Runs of one harvest in processes of their own, forked from one without threads or a loop; what they leave.

The sweepers stand on this. A story is a source and an output, the harvest that is disturbed, and the one
before it that left partly filled partitions to replace. Rows are spilled: only few may wait in memory.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# Some only to be loaded once, and not in each process that is forked.
import anyio
import anyio._backends._asyncio
import orjson
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

from harvester.output.manifest import success_stands
from harvester.records import Held
from harvester.scheduler import Harvest
from harvester.shards import read_lines
from harvester.testing.control import lines_of_truth
from harvester.testing.settings import Settings
from harvester.transport.blot import Blotter
from tests.disks.choosing import Choice
from tests.disks.command import run_command
from tests.disks.processes import in_a_process, played
from tests.disks.recording import Blow, Recorder
from tests.disks.source import Near
from tests.harvesting import SPAN, TOKEN_ENV, World, digests, hours, live, manifest, settings

_JOB: Final[dict[str, Any]] = {"transport": {"concurrency": 4, "requests_per_second": 10_000.0}}
RECORDS: Final = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """`code`: that of a run which nobody disturbs."""

    output: dict[str, Any] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    code: int = 0

    def _over(self, first: float, last: float) -> dict[str, Any]:
        return {**_JOB, "span": hours(first, last), "output": {"shard_bytes": 100_000, **self.output}}

    @property
    def source(self) -> dict[str, Any]:
        """The simulator's settings."""
        return {"records": RECORDS, "end": SPAN.end, "faults": self.faults}

    @property
    def run(self) -> dict[str, Any]:
        return self._over(0, 48)

    @property
    def before(self) -> dict[str, Any]:
        return self._over(3, 30)


STORIES: Final[dict[str, Story]] = {
    "plain": Story(),
    "quarantine": Story(faults=({"record": "null", "one_in": 60},), code=3),
    "gzip": Story(output={"compression": "gzip"}),
    "parquet": Story(output={"format": "parquet"}),
}
ENOUGH_SPACE: Final = 64 << 20
LIMIT_S: Final = 6 * 3600.0
"""A sweep that is not over by then hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int | None
    """None: killed."""
    status: str
    error: str
    kinds: list[str]
    places: list[str]
    retried: list[str]
    struck: int
    """The number of the call that failed first; 0 where none did."""


def run(
    source: Near | str,
    world: Path,
    job: dict[str, Any],
    *,
    record: Path | None = None,
    blow: Blow | None = None,
    last: bool = False,
    mutant: Callable[[], None] | None = None,
) -> Ended:
    """Harvests into `world`/out, in a process of its own. `last`: of a case, in the one of the case, from
    which none must be forked any more; its calls are not counted. A `source` that is a URL: as a user does,
    with a process that is started for it, in which no rows are spilled.
    """

    def running() -> dict[str, Any]:
        recorder = Recorder(world, record=record, blow=blow)
        if not last:
            recorder.install()
        if mutant is not None:
            mutant()
        held = Held(limit_bytes=20_000, run_bytes=5_000)
        assert isinstance(source, Near)
        harvest = Harvest(settings(world / "out", **job), held=held, session=source.open)
        outcome = anyio.run(harvest.run)
        told = {"code": outcome.exit_code, "status": outcome.status, "error": outcome.error or ""}
        return told | recorder.told()

    if isinstance(source, str):
        assert record is None, "not for commands"
        assert mutant is None, "not for commands"
        told = run_command(source, world, job, blow)
    else:
        told = played(running) if last else in_a_process(running)
    told = {} if told is None else told if "code" in told else {"code": 70, **told}
    return Ended(
        code=told.get("code"),
        status=told.get("status", ""),
        error=told.get("error", ""),
        kinds=told.get("kinds", []),
        places=told.get("places", []),
        retried=told.get("retried", []),
        struck=told.get("struck", 0),
    )


def picture(out: Path) -> dict[str, str]:
    """SHA-256 of every file that a reader may meet and of what is left in staging; whether the manifest says
    the same of its shards, and `_SUCCESS` of the manifest. Of the quarantine what is in it: which of two
    neighbouring windows an item is kept for depends on where pages began.
    """
    found = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("dt=*/*", "_harvest/staging/*", "**/*.tmp")
        for path in out.glob(pattern)
    }
    for path in out.glob("_harvest/quarantine/*.jsonl"):
        found |= {f"kept apart: {line}": "" for line in path.read_text().splitlines()}
    try:
        told = digests(out) if (out / "_manifest.json").exists() else {}
    except ValueError:
        told = {"manifest": "cannot be read"}
    found |= {f"told {path}": sha256 for path, sha256 in told.items()}
    return found | {"_SUCCESS": str(success_stands(out))}


def by_plain_names(found: dict[str, str]) -> dict[str, str]:
    """Where a run that failed has published a partition, tables that are wider since carry digits of their
    SHA-256 in the name. Two names that would become one are left.
    """
    plain = {name: re.sub(r"-[0-9a-f]{8}(?=\.parquet$)", "", name) for name in found}
    taken = Counter(plain.values())
    return {plain[name] if taken[plain[name]] == 1 else name: sha256 for name, sha256 in found.items()}


def broken_promises(out: Path, *, least: int = 0) -> list[str]:
    """What a reader who goes by manifest and `_SUCCESS` would not find; `least` records must be told."""
    if not (out / "_manifest.json").exists():
        broken = ["the manifest that stood is gone"] if least else []
        return broken + (["_SUCCESS without a manifest"] if (out / "_SUCCESS").exists() else [])
    try:
        told = manifest(out)
    except ValueError:
        return ["the manifest cannot be read"]
    broken = []
    if told["records"] < least:
        broken.append(f"the manifest tells {told['records']} records; {least} were told before")
    for shard in told["shards"]:
        path = out / shard["path"]
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != shard["sha256"]:
            broken.append(f"the manifest names {shard['path']}, which is not there as it says")
    if success_stands(out) and not told["complete"]:
        broken.append("_SUCCESS stands and the manifest is not complete")
    return broken


def swept(module: str, arguments: Sequence[str], *, story: str) -> tuple[int, dict[str, Any]]:
    """A simulator with the story's source in this process, and a sweep against it in another: its exit code
    and what it counted.

    The sweep works in memory where there is a file system for that, since nothing here is about this disk.
    """
    ended: list[tuple[int, dict[str, Any]]] = []

    async def playing(world: World) -> None:
        folder = world.out.parent
        command = [sys.executable, "-m", module, world.simulator.url, str(folder), "--story", story]
        done = await anyio.run_process([*command, *arguments], stderr=None, check=False)
        told = (
            orjson.loads(done.stdout.splitlines()[-1]) if done.stdout else {"wrong": ["it ended in an error"]}
        )
        clean = folder / "clean" / "out"
        if clean.exists() and not _is_the_truth(world, clean, STORIES[story]):
            told["wrong"].append("the undisturbed run is not the truth")
        ended.append((done.returncode or bool(told["wrong"]), told))

    with tempfile.TemporaryDirectory(prefix="harvester-disks-", dir=_roomy()) as place:
        live(Path(place), playing, limit_s=LIMIT_S, **STORIES[story].source)
    return ended[0]


def source_of(args: argparse.Namespace) -> Near | str:
    """What the sweep's runs ask. What each of them would read and compile anew is there from here on."""
    settings(args.folder)
    Blotter().learn(os.environ[TOKEN_ENV])
    return args.url if args.by_command else Near(Settings(**STORIES[args.story].source))


def _is_the_truth(world: World, clean: Path, story: Story) -> bool:
    """Of tables the keys are compared: values are another matter, of other tests."""
    if story.faults:
        return True  # such a run says itself what is missing
    if story.output.get("format") != "parquet":
        return not world.difference(clean)
    asked = {"start": SPAN.start.isoformat(), "end": SPAN.end.isoformat()}
    keys = [line["key"] for line in lines_of_truth(world.simulator, asked)]
    rows = [orjson.loads(line) for path in digests(clean) for line in read_lines(clean / path)]
    return sorted(keys) == sorted(row["_id"] for row in rows)


def _roomy() -> str | None:
    try:
        state = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if state.f_bavail * state.f_frsize > ENOUGH_SPACE else None


def arguments(**more: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--story", choices=list(STORIES), default="plain")
    parser.add_argument("--by-command", action="store_true", help="play `python -m harvester run`")
    Choice.add_arguments(parser)
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser
