"""syscalls and the disk: all that is written passes one place, for its owner alone, and through no link."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import harvester
from harvester.errors import StorageError
from harvester.ledger import Ledger, Lock
from harvester.shards.disk import Disk
from tests.harvesting import World, hours, live, manifest

PACKAGE: Final = Path(harvester.__file__).parent
CHANGING: Final = set(
    "open write fsync fdatasync mkdir makedirs rename renames replace link symlink unlink remove rmdir "
    "truncate ftruncate fchmod chmod mkfifo mknod write_text write_bytes touch hardlink_to symlink_to "
    "mkstemp mkdtemp TemporaryDirectory NamedTemporaryFile TemporaryFile copyfile copytree move rmtree "
    "connect".split()
)
ELSEWHERE: Final = {
    "shards/disk.py": "opens to read, and folders to name things in",
    "ledger/lock.py": "opens to read",
    "ledger/file.py": "SQLite, which makes its calls in its own VFS",
    "cli/summary.py": "in place where no plain file can be put beside it, and its mode for other users",
    "cli/streams.py": "/dev/null in the place of a closed stdout",
    "cli/signals.py": "the summary to stdout in a signal handler",
    "cli/run.py": "/dev/null in the place of a closed stderr",
    "output/second_keys.py": "digests in a file without a name",
    "verify/check.py": "key digests in a temporary folder, not in the output",
    "verify/keys.py": "key digests in a temporary folder, not in the output",
    "verify_source/check.py": "spilled rows in a temporary folder, not in the output",
}


def _calls(tree: ast.AST) -> Iterator[str]:
    """Names of calls that might change a disk: of `os`, of paths, `open` to write, SQLite."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "open":
            mode = node.args[1] if len(node.args) > 1 else None
            if isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax+"):
                yield "open"
        elif isinstance(called, ast.Attribute) and called.attr in CHANGING:
            owner = called.value.id if isinstance(called.value, ast.Name) else ""
            first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if owner == "os" or owner in ("tempfile", "shutil", "sqlite3"):
                yield f"{owner}.{called.attr}"
            elif called.attr in ("write_text", "write_bytes", "touch", "hardlink_to", "symlink_to"):
                yield called.attr
            elif called.attr in ("unlink", "mkdir", "rmdir", "rename") and owner != "syscalls":
                yield called.attr
            elif called.attr == "open" and isinstance(first, str) and set(first) & set("wax+"):
                yield "open"


def test_nothing_but_syscalls_changes_a_disk() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("testing/") and name != "syscalls.py":
            if calls := sorted(set(_calls(ast.parse(path.read_text())))):
                found[name] = calls
    assert set(found) <= set(ELSEWHERE), found


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_files_and_folders_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    code = (
        "import os, sys; from pathlib import Path; os.umask(int(sys.argv[2]))\n"
        "from harvester.ledger import Ledger, Lock; from harvester.shards.disk import Disk\n"
        "disk = Disk(Path(sys.argv[1]) / 'a' / 'out'); disk.make_folder('_harvest/staging')\n"
        "disk.replace('_manifest.json', b'x'); home = disk.path('_harvest')\n"
        "with Lock(home), Ledger(home) as ledger:\n"
        "    ledger.learn({'rate': 1})\n"
        "    for path in disk.root.parent.rglob('*'): print(path.name, oct(path.stat().st_mode & 0o7777))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(umask)], capture_output=True, text=True, check=True
    )
    modes = dict(line.split() for line in done.stdout.splitlines())
    folders = {"out", "_harvest", "staging"}
    files = {"_manifest.json", "lock", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"}
    assert modes == dict.fromkeys(folders, "0o700") | dict.fromkeys(files, "0o600")


def _plant(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


REFUSED: Final = [
    "_harvest",
    "_harvest/ledger.sqlite",
    "_harvest/lock",
    "_harvest/staging",
    "dt=2024-01-01",
    "_manifest.json.tmp",
    "_SUCCESS",
    "_SUCCESS.tmp",
]
PASSED_OVER: Final = [
    "_harvest/staging/00000001-00000.jsonl.zst",
    "dt=2024-01-01/part-00000.jsonl.zst.tmp",
]


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", [*REFUSED, *PASSED_OVER])
def test_a_link_planted_in_an_output_leads_nobody_out_of_it(tmp_path: Path, place: str) -> None:
    """Where it stands in the place of a folder, of the ledger, of the lock or of what readers wait for the
    run is refused. Elsewhere another name is taken, or it gives way where only a run of ours writes. What it
    points to keeps its bytes, and nothing is made beside it.
    """
    victims = tmp_path / "victims"
    victims.mkdir()
    is_folder = place in ("_harvest", "_harvest/staging", "dt=2024-01-01")
    if not is_folder:
        (victims / "file").write_bytes(b"precious")
    before = _snapshot(victims)

    async def story(world: World) -> None:
        _plant(world.out / place, victims if is_folder else victims / "file")
        outcome = await world.run()
        assert outcome.exit_code == (7 if place in REFUSED else 0), outcome.error
        if place in REFUSED:
            assert place.split("/")[-1].partition("-")[0] in str(outcome.error)
        else:
            assert not world.difference()
            assert (world.out / place).is_symlink() is place.startswith("dt=")

    live(tmp_path, story, records=100)
    assert _snapshot(victims) == before


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("_harvest/ledger.sqlite-wal", 7),
        ("_harvest/ledger.sqlite-shm", 7),
        ("_harvest/quarantine", 7),
        ("_manifest.json", 0),
        ("_SUCCESS", 0),
        ("dt=2024-01-02/part-00000.jsonl.zst", 0),
    ],
)
def test_a_link_planted_between_two_runs_leads_the_second_nowhere(
    tmp_path: Path, place: str, code: int
) -> None:
    victims = tmp_path / "victims"
    victims.mkdir()
    (victims / "file").write_bytes(b"precious")

    async def story(world: World) -> None:
        assert (await world.run(span=hours(0, 20))).exit_code == 0
        (world.out / place).unlink(missing_ok=True)
        _plant(world.out / place, victims / "file")
        assert (await world.run()).exit_code == code
        assert bool(world.difference()) == (code != 0)

    live(tmp_path, story, records=100)
    assert _snapshot(victims) == {"file": b"precious"}


def test_a_link_in_the_place_of_a_shard_is_told_and_not_read(tmp_path: Path) -> None:
    """The same bytes behind a link are not the file that was sealed."""

    async def story(world: World) -> None:
        assert (await world.run()).exit_code == 0
        shard = world.out / manifest(world.out)["shards"][0]["path"]
        shard.rename(tmp_path / "elsewhere")
        shard.symlink_to(tmp_path / "elsewhere")
        outcome = await world.run()
        assert outcome.exit_code == 7
        assert "link" in str(outcome.error)

    live(tmp_path, story, records=100)


def test_a_second_name_of_a_file_keeps_its_bytes_when_the_first_is_written_anew(tmp_path: Path) -> None:
    """A hard link planted under the name of a file that is about to be written."""
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "victim", tmp_path / "out" / "part")
    with Disk(tmp_path / "out").create("part") as file:
        file.write(b"other")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "out" / "part").read_bytes() == b"other"


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large")

    async def story(world: World) -> None:
        assert (await world.run()).exit_code == 0
        assert not world.difference()

    live(tmp_path, story, records=100)


def test_the_lock_and_the_ledger_are_opened_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "_harvest").symlink_to(tmp_path / "elsewhere")
    for owner in (Lock(tmp_path / "_harvest"), Ledger(tmp_path / "_harvest")):
        with pytest.raises(StorageError, match="link"), owner:
            pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
