"""stdout and stderr that are closed, full, or read by nobody: a run ends as any other."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harvester.testing import Settings, Simulator, running

JOB = '[source]\nbase_url = "{url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-02\n[output]\nurl = "out"\n'


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running(Settings(records=50, end=datetime(2024, 1, 2, tzinfo=UTC))) as simulator:
        yield simulator


@pytest.mark.parametrize(
    "streams",
    [
        ">&- 2>&-",
        "<&- >&- 2>&-",
        "2>/dev/full",
        "--log-format console 2>/dev/full",
        "2>&1 >/dev/null | true",
    ],
)
def test_what_becomes_of_the_streams_changes_neither_a_run_nor_its_code(
    streams: str, simulator: Simulator, tmp_path: Path
) -> None:
    """A closed one's number goes to no socket, which libuv would end with an abort; nor to a file."""
    (tmp_path / "job.toml").write_text(JOB.format(url=simulator.url))
    ended = subprocess.run(
        f"{sys.executable} -m harvester run job.toml {streams}; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HARVESTER_TOKEN": Settings().token},
        timeout=60,
    )
    assert ended.returncode == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()
