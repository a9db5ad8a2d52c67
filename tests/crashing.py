"""Runs that are killed at a chosen operation on the disk or the ledger: SIGKILL of a real process.

The sweeper forks a process for each run. It must be a process of its own with no thread and no loop, so tests
and `scripts/crash-sweep` start it as `python -m tests.crashing URL FOLDER [--every N]`; the last line: JSON.
"""

import argparse
import functools
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import orjson

from harvester.ledger import database
from harvester.scheduler import Harvest
from harvester.shards.disk import Disk
from tests.harvesting import digests, hours, settings

OPERATIONS: Final = (
    "make_folder",
    "create",
    "write",
    "close_durably",
    "sync_folder",
    "link",
    "replace",
    "remove",
)
RUN: Final[dict[str, Any]] = {
    "span": hours(0, 48),
    "output": {"shard_bytes": 60_000},
    "transport": {"concurrency": 4},
}
BEFORE: Final[dict[str, Any]] = {**RUN, "span": hours(3, 30)}
"""A first run over a part, so that the run that is killed also has to replace a partly filled partition."""


class Points:
    """Counts operations and kills this process just before, or just after, the chosen one."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.passed = 0

    def meet(self) -> None:
        self.passed += 1
        if self.passed == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        for name in OPERATIONS:
            setattr(Disk, name, self._around(getattr(Disk, name)))
        connect = sqlite3.connect
        points = self

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                if statement != "COMMIT":
                    return super().execute(statement, *values)
                points.meet()
                try:
                    return super().execute(statement, *values)
                finally:
                    points.meet()

        database.sqlite3.connect = functools.partial(connect, factory=Connection)  # type: ignore[attr-defined]

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def meeting(*values: Any) -> Any:
            self.meet()
            answer = method(*values)
            self.meet()
            return answer

        return meeting


def child(url: str, out: Path, job: dict[str, Any], fatal: int | None) -> tuple[int | None, int]:
    """Runs the job in a forked process; its exit code (None: killed) and how many points it passed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.close(reader)
            points = Points(fatal)
            points.install()
            outcome = anyio.run(Harvest(settings(out, url, **job)).run)
            os.write(writer, b"%d" % points.passed)
            code = outcome.exit_code
            if outcome.error:
                print(outcome.error, file=sys.stderr)
        finally:
            os._exit(code)
    os.close(writer)
    told = os.read(reader, 32)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else None), int(told or 0)


def sweep(url: str, folder: Path, *, every: int, recoveries: int) -> dict[str, Any]:
    """Kills at each `every`-th point, and in the recovery too; the end must be as if nothing had happened."""
    clean = folder / "clean"
    child(url, clean, BEFORE, None)
    begun = folder / "begun"
    shutil.copytree(clean, begun)
    code, points = child(url, clean, RUN, None)
    assert code == 0
    wanted = digests(clean)
    killed = resumed = 0
    wrong: list[str] = []
    for fatal in range(1, points + 1, every):
        out = folder / f"at-{fatal}"
        shutil.copytree(begun, out)
        code, _ = child(url, out, RUN, fatal)
        killed += code is None
        for again in range(recoveries):
            code, _ = child(url, out, RUN, 1 + (fatal * 7 + again * 13) % points)
            killed += code is None
        code, _ = child(url, out, RUN, None)
        resumed += 1
        if code != 0 or digests(out) != wanted or _strangers(out, wanted):
            wrong.append(
                f"point {fatal}: exit {code}, {len(digests(out))} shards, strangers {_strangers(out, wanted)}"
            )
        shutil.rmtree(out)
    return {"points": points, "killed": killed, "recovered": resumed - len(wrong), "wrong": wrong}


def _strangers(out: Path, wanted: dict[str, str]) -> list[str]:
    """Files that a reader of the folder would take for output, and what was left in staging."""
    found = {
        path.relative_to(out).as_posix() for path in [*out.glob("dt=*/*"), *out.glob("_harvest/staging/*")]
    }
    return sorted(found ^ set(wanted))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--recoveries", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    report = sweep(args.url, args.folder, every=args.every, recoveries=args.recoveries)
    print(orjson.dumps(report).decode())
    sys.exit(bool(report["wrong"]))


if __name__ == "__main__":
    main()
