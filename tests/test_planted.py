"""Links, pipes and paths that somebody planted in an output: no command follows them out of it, changes what
they lead to, or waits for ever."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harvester.cli import main
from harvester.errors import StorageError
from harvester.shards.disk import Disk
from tests.echoing import Server, echoing
from tests.test_escaping import JOB

SHARD: Final = "dt=2024-01-01/part-00000-*.jsonl"
FOLDERS: Final = ["_harvest", "_harvest/staging", "_harvest/quarantine", "_harvest/rebuild", "dt=2024-01-01"]
FILES: Final = [
    *("_manifest.json", "_SUCCESS", "_manifest.json.tmp", "_SUCCESS.tmp", SHARD, f"{SHARD}.tmp"),
    *("_harvest/ledger.sqlite", "_harvest/ledger.sqlite-wal", "_harvest/ledger.sqlite-shm"),
    *(
        "_harvest/ledger.sqlite-journal",
        "_harvest/lock",
        "_harvest/contract.json",
        "_harvest/contract.json.tmp",
    ),
    *("_harvest/quarantine/20240101T000000.000000Z.jsonl", "_harvest/rebuild/ledger.sqlite"),
    *("_harvest/staging/00000001-00000.jsonl", "_harvest/staging/00000002-00000.jsonl"),
]
COMMANDS: Final = [
    ["verify", "out"],
    ["status", "out"],
    ["schema", "out"],
    ["probe", "job.toml"],
    ["rebuild-ledger", "out", "--force"],
    ["run", "job.toml"],
    ["run", "job.toml", "--repair"],
    ["run", "job.toml", "--end", "2024-01-01T02:00:00Z"],
]

MEMORY: Final = ["_harvest", "_harvest/ledger.sqlite"]
RECORDS: Final = [SHARD, "dt=2024-01-01"]
READ_BY: Final = {
    "verify out": [*MEMORY, *RECORDS, "_manifest.json"],
    "status out": MEMORY,
    "schema out": [*MEMORY, *RECORDS],
    "rebuild-ledger out --force": ["_harvest", *RECORDS, "_manifest.json"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with echoing() as serving:
        yield serving


@pytest.fixture(scope="module")
def good(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with all that may be there."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "job.toml").write_text(JOB.format(url=server.url))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HARVESTER_TOKEN", "some-token")
        assert main(["run", "job.toml", "-q"]) == 0
        assert main(["probe", "job.toml"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _begin(good: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", "some-token")
    server.mode = "good"
    shutil.copy(good / "job.toml", "job.toml")
    Path("victims").mkdir()
    Path("victims/file").write_text("precious")
    Path("victims/folder").mkdir()
    Path("victims/folder/inside").write_text("kept")


def fresh(good: Path) -> None:
    shutil.rmtree("out", ignore_errors=True)
    shutil.copytree(good / "out", "out")


def taken_away(place: str) -> Path:
    """Where something is to be planted."""
    ending = place.removeprefix(SHARD) if place.startswith(SHARD) else ""
    path = next(Path("out").glob(SHARD), Path("out/none")) if place.startswith(SHARD) else Path("out", place)
    path = path.with_name(path.name + ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


def victims() -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in Path("victims").rglob("*")
    }


@pytest.mark.parametrize("place", [*FOLDERS, *FILES])
def test_a_link_leads_no_command_out_of_an_output(
    place: str, good: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """To a file, to a folder, and to nothing yet; each is as it was, and nothing stands beside it."""
    before = victims()
    there = "folder" if place in FOLDERS else "file"
    verify, _, _, probe, rebuild, _, repair, extend = COMMANDS
    for command, target in (
        *((one, there) for one in (verify, probe, rebuild, extend)),
        *((one, "nothing-yet") for one in (rebuild, repair)),
    ):
        fresh(good)
        taken_away(place).symlink_to(Path("victims", target).absolute())
        server.mode = "items" if command is extend else "good"
        code = main(command)
        said = "".join(capfd.readouterr())
        assert victims() == before, (command, target)
        assert (code == 1, "unforeseen" in said) == (False, False), (command, target, said)


@pytest.mark.parametrize(
    ("command", "place"),
    [(command.split(), place) for command, places in READ_BY.items() for place in places],
)
def test_no_command_reads_on_through_a_link(
    command: list[str], place: str, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it leads to has the very bytes that stood there, so only the link can be what is wrong."""
    fresh(good)
    path = next(Path("out").glob(place))
    path.rename("victims/moved")
    path.symlink_to(Path("victims/moved").absolute())
    code = main(command)
    said = "".join(capfd.readouterr())
    assert (code, "link" in said) in ((4, True), (7, True)), said


@pytest.mark.parametrize(
    "place",
    [
        "_manifest.json",
        "_SUCCESS",
        SHARD,
        "_harvest/ledger.sqlite",
        "_harvest/lock",
        "_harvest/contract.json",
    ],
)
def test_a_pipe_in_the_place_of_a_file_holds_up_no_command(
    place: str, good: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody writes to it, so who reads it, or opens it to read, waits for ever."""
    for command in COMMANDS:
        fresh(good)
        os.mkfifo(taken_away(place))
        signal.alarm(20)  # ends the tests, and says where
        code = main(command)
        signal.alarm(0)
        said = "".join(capfd.readouterr())
        assert code in (0, 4, 7), (command, said)
        assert "unforeseen" not in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_path_in_the_manifest_leads_no_command_out_of_an_output(
    command: list[str], good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = victims()
    for path in ("../victims/file", str(Path("victims/file").absolute()), "dt=2024-01-01/../../victims/file"):
        fresh(good)
        told = json.loads(Path("out/_manifest.json").read_bytes())
        told["shards"][0]["path"] = path
        content = json.dumps(told).encode()
        Path("out/_manifest.json").write_bytes(content)
        Path("out/_SUCCESS").write_text(hashlib.sha256(content).hexdigest())
        code = main(command)
        said = "".join(capfd.readouterr())
        assert code in (0, 4, 7), (path, said)
        assert "precious" not in said
        assert victims() == before


@pytest.mark.parametrize("path", ["../victims/file", "a/../../victims/file", "../victims/folder/inside"])
def test_no_path_that_is_told_leads_out_of_an_output(path: str) -> None:
    """Whoever tells it: a ledger or a manifest that was planted."""
    Path("out/a").mkdir(parents=True)
    disk = Disk(Path("out"))
    for attempt in (disk.remove, disk.create, disk.read, disk.files, disk.size, disk.sha256):
        with pytest.raises(StorageError, match="leads out of the output"):
            attempt(path)
    with pytest.raises(StorageError):
        disk.remove("a/..")
    with pytest.raises(StorageError):
        disk.read("/etc/hostname")
    assert Path("victims/file").read_text() == "precious"


def test_what_a_link_leads_to_is_not_taken_for_a_file_of_the_output() -> None:
    Path("out").mkdir()
    Path("out/link").symlink_to(Path("victims/file").absolute())
    disk = Disk(Path("out"))
    assert disk.content("link") is None
    for attempt in (disk.read, disk.sha256, disk.size, disk.open_or_create):
        with pytest.raises(StorageError, match="no link is followed inside an output"):
            attempt("link")


def test_no_ledger_is_begun_in_an_empty_file_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    """Which SQLite would take for a new one."""
    Path("victims/file").write_text("")
    Path("out/_harvest").mkdir(parents=True)
    Path("out/_harvest/ledger.sqlite").symlink_to(Path("victims/file").absolute())
    assert main(["run", "job.toml"]) == 7
    assert "remove it" in capfd.readouterr().err
    assert Path("victims/file").read_text() == ""


def test_files_and_folders_are_for_their_owner_whatever_the_umask(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """After each command that writes, the quarantine and the contract included."""
    before = os.umask(0)
    try:
        server.mode = "items"
        assert main(["run", "job.toml"]) == 3
        server.mode = "good"
        assert main(["probe", "job.toml"]) == 0
        assert main(["run", "job.toml"]) == 0
        assert main(["rebuild-ledger", "out", "--force"]) == 0
    finally:
        os.umask(before)
    capfd.readouterr()
    found = {path: path.stat().st_mode & 0o777 for path in [Path("out"), *Path("out").rglob("*")]}
    assert {"contract.json", "ledger.sqlite", "lock", "_SUCCESS"} <= {path.name for path in found}
    for path, mode in found.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(
    "command", ["verify out", "status out", "schema out", "run job.toml", "rebuild-ledger out"]
)
def test_a_folder_that_may_not_be_searched_is_named(
    command: str, good: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Root may search any, so the kernel's answer is given in its place."""
    fresh(good)
    looked = Path.stat

    def refused(path: Path, **how: bool) -> os.stat_result:
        if "_harvest" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return looked(path, **how)

    monkeypatch.setattr(Path, "stat", refused)
    assert main(command.split()) == 7
    said = capfd.readouterr().err
    assert "out/_harvest" in said
    assert "Permission denied" in said
