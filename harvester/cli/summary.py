"""The summary of a run: the one JSON object that is the last line on stdout, and the file that --summary
names.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from harvester import syscalls
from harvester.cli.answer import json_line
from harvester.errors import ConfigError, StorageError
from harvester.job import Outcome
from harvester.ledger import home_of
from harvester.shards import naming
from harvester.telemetry import Counters


def summary(outcome: Outcome, counters: Counters) -> dict[str, Any]:
    """The keys that outside checks rely on; `error` only where there is something to say, `repaired`
    and `foreign` only after --repair.
    """
    told = {
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "windows": {
            "total": outcome.windows_total,
            "done": outcome.windows_done,
            "failed": outcome.windows_failed,
        },
        "gaps": [{"start": gap.start, "end": gap.end, "error": gap.error} for gap in outcome.gaps],
        "requests": counters.requests,
        "retries": counters.retries,
        "throttled": counters.throttled,
        "records": outcome.records,
        "records_written": outcome.records_written,
        "duplicates_dropped": outcome.duplicates_dropped,
        "outside_window_dropped": outcome.outside_window_dropped,
        "bytes": {"received": counters.received_bytes, "decoded": counters.decoded_bytes},
        "bytes_written": outcome.bytes_written,
        "elapsed_s": round(counters.elapsed_s, 3),
        "records_per_s": round(outcome.records_written / max(counters.elapsed_s, 0.001), 1),
        "shards": outcome.shards,
        "out": outcome.out,
    }
    if outcome.repaired is not None:
        told |= {"repaired": outcome.repaired, "foreign": outcome.foreign}
    return told if outcome.error is None else told | {"error": outcome.error}


def check(path: Path, out: Path) -> None:
    """Before the run, not after hours of it. ConfigError where the file could never be written, or would take
    the place of one of the output's own.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"--summary: {path} is a folder; name a file")
        if not path.parent.is_dir():
            raise ConfigError(f"--summary: {path.parent} is no folder; make it first")
        if _is_of_output(Path(os.path.realpath(path)), Path(os.path.realpath(out))):
            raise ConfigError(f"--summary: {path} is a place of the output's own files; name another")
    except OSError as error:
        raise ConfigError(f"--summary: no such file can be: {error.strerror}; name another") from None


def _is_of_output(path: Path, out: Path) -> bool:
    if not path.is_relative_to(out):
        return False
    own = (home_of(out).name, naming.MANIFEST, naming.SUCCESS, naming.folder(""))
    inside = path.relative_to(out).parts
    return not inside or inside[0].startswith(own)


def write(path: Path, told: dict[str, Any]) -> None:
    """A reader sees the whole file or the one before. What is no plain file (a pipe, /dev/stderr), or lies
    where nothing can be put beside it (a mounted /dev/termination-log), is written in place. Raises
    StorageError."""
    line = (json_line(told) + "\n").encode()
    try:
        if not path.exists() or stat.S_ISREG(path.stat().st_mode):
            with suppress(OSError):
                _replace(path.resolve(), line)
                return
        path.write_bytes(line)
    except OSError as error:
        raise StorageError(f"--summary: {path} could not be written: {error.strerror or error}") from None


def _replace(path: Path, line: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    file = syscalls.create(temporary)
    try:
        try:
            syscalls.write_all(file, line)
            os.fchmod(file, 0o644)  # not a secret, and for other users' schedulers to read
            syscalls.sync(file)
        finally:
            os.close(file)
        syscalls.rename(temporary, path)
    except BaseException:
        syscalls.unlink(temporary)
        raise
