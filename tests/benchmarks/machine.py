"""Where the figures come from: machine, versions, date. Figures without them mean nothing."""

import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    *("aiohttp", "anyio", "isal", "msgspec", "orjson", "uvloop"),
    *(("backports.zstd",) if sys.version_info < (3, 14) else ()),
)


def described() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _said("git", "describe", "--always", "--dirty") or "unknown",
        "machine": f"{os.cpu_count()} cores, {_processor()}, {_memory()}",
        "system": f"{platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} when it began",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "commands": ", ".join(filter(None, (_command(name) for name in ("curl", "zstd")))) or "none",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _command(name: str) -> str:
    found = re.search(r"\d+\.\d+[.\d]*", _said(name, "--version")) if shutil.which(name) else None
    return f"{name} {found[0]}" if found else ""


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
