"""What surrounds the program without being meant for it: modules in the current folder, homes that are not
there, an encoding of the system's own, names of folders.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.cli import main
from harvester.errors import StorageError
from harvester.ledger import Ledger, home_of
from harvester.ledger.file import LONGEST_PATH
from tests.harvesting import hours

JOB = """
[source]
base_url = "http://127.0.0.1:9"
[span]
start = 2024-01-01
end = 2024-01-02
"""
LIKE_OURS = ("orjson.py", "msgspec.py", "zoneinfo.py", "tomllib.py", "statistics.py", "queue.py")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.toml").write_text(JOB)


def test_a_module_in_the_current_folder_is_not_taken_for_one_of_ours() -> None:
    """`python -m` looks there first."""
    for name in LIKE_OURS:
        Path(name).write_text("raise SystemExit('not meant for you')\n")
    ended = subprocess.run(
        [sys.executable, "-m", "harvester", "plan", "job.toml"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "setting",
    [
        "output.url=~nobody-of-this-name/out",
        "source.token_file=~nobody-of-this-name/token",
        "source.ca_file=~nobody-of-this-name/ca.pem",
        "source.dialect=~nobody-of-this-name/mine.toml",
        "output.schema=~nobody-of-this-name/schema.json",
    ],
)
def test_a_home_folder_that_is_not_known_is_wrong_usage(
    setting: str, capfd: pytest.CaptureFixture[str]
) -> None:
    format = ["--set", "output.format=parquet"] if "schema" in setting else []
    assert main(["run", "job.toml", "--set", setting, *format]) == 2
    said = capfd.readouterr().err
    assert setting.partition("=")[0] in said
    assert "no home folder of that name is known; write the folder out" in said


@pytest.mark.parametrize(
    "name", ["file:out", "file:///out", "a%20b", "a?mode=memory", "a#b", "-", "\udcff\udcfe"]
)
def test_a_ledger_lies_in_the_folder_that_was_named(name: str) -> None:
    """SQLite would take some of these for addresses."""
    Path(name, "_harvest").mkdir(parents=True)
    with Ledger(Path(name, "_harvest")) as ledger:
        ledger.extend(hours(0, 1))
    with Ledger(Path(name, "_harvest"), read_only=True) as ledger:
        assert ledger.spans() == [hours(0, 1)]
    assert Path(name, "_harvest/ledger.sqlite").stat().st_size > 0


def test_a_ledger_s_path_that_sqlite_cannot_open_is_told_as_that(tmp_path: Path) -> None:
    beside = len(os.fsencode(tmp_path / "_harvest/ledger.sqlite")) + 2
    for length, opens in ((LONGEST_PATH, True), (LONGEST_PATH + 1, False)):
        left = length - beside
        out = tmp_path / ("x" * (left // 2)) / ("y" * (left - left // 2))
        (out / "_harvest").mkdir(parents=True)
        if opens:
            with Ledger(home_of(out)) as ledger:
                assert ledger.spans() == []
        else:
            with pytest.raises(StorageError, match="with a shorter path"):
                Ledger(home_of(out)).__enter__()


def test_a_file_of_faults_is_utf8_whatever_the_system_s_encoding(capfd: pytest.CaptureFixture[str]) -> None:
    Path("faults.toml").write_bytes("[[fault]]\nbody = 'ünknown'\n".encode())
    ended = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "harvester", "simulate", "--faults", "faults.toml"],
        capture_output=True,
        env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"},
        timeout=60,
    )
    assert ended.returncode == 2
    assert "fault body cannot be 'ünknown'" in ended.stderr.decode()
