"""What a contestant costs: CPU (user and system), wall time and peak memory of one whole process, its start
included."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
PATIENCE_S: Final = 900.0
"""A contestant that takes longer hangs."""


class Failed(Exception):
    """A contestant ended with another exit code than 0; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    cpu_s: float
    wall_s: float
    peak_mib: float


def cost_of(command: Sequence[str], place: Path, environ: Mapping[str, str] | None = None) -> Cost:
    """Runs `command` to its end. What it says goes to `place/said`."""
    result = place / "cost"
    with (place / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(result), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=clean(environ),
            start_new_session=True,
        )
        try:
            process.wait(PATIENCE_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode:
        raise Failed(f"{command[0]} could not be started: {tail(place / 'said')}")
    code, user_s, system_s, wall_s, peak_kib = map(float, result.read_text().split())
    if code:
        raise Failed(f"{' '.join(command)} ended with {code:.0f}: {tail(place / 'said')}")
    return Cost(cpu_s=user_s + system_s, wall_s=wall_s, peak_mib=peak_kib / 1024)


def clean(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what changes Python's ways: PYTHONDONTWRITEBYTECODE alone makes every start
    twice as long."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HARVESTER_"))
    }
    return {**kept, **(environ or {})}


def tail(path: Path, size_bytes: int = 1500) -> str:
    return path.read_bytes()[-size_bytes:].decode(errors="replace")
