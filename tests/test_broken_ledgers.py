"""A ledger that is lost, damaged, locked, torn or of another time: each command says so, names the way out,
and changes nothing."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest

from harvester.cli import main
from harvester.ledger import SCHEMA_VERSION, Ledger, file, home_of, is_held, lock
from harvester.testing import Settings, Simulator, running
from tests.harvesting import manifest
from tests.test_repair import flip

LEDGER = Path("out/_harvest/ledger.sqlite")
WAL = LEDGER.with_name("ledger.sqlite-wal")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running(Settings(records=150, end=datetime(2024, 1, 3, tzinfo=UTC))) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def harvested(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output, and beside it one that was killed with its last commits in the WAL alone."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "job.toml").write_text(
        f'[source]\nbase_url = "{simulator.url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-03\n'
        f'[fetch]\npage_size = 100\n[output]\nshard_bytes = 60000\nurl = "out"\n'
    )
    before = Path.cwd()
    os.environ["HARVESTER_TOKEN"] = Settings().token
    try:
        os.chdir(folder)
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            assert main(["run", "job.toml", "--end", "2024-01-02T06:00:00Z"]) == 0
            shutil.copytree("out", "killed")
            earlier = LEDGER.read_bytes()
            assert main(["run", "job.toml"]) == 0
        with Ledger(home_of(Path("out"))) as ledger:
            ledger.learn({"filler": "x" * 100_000})
        (folder / "earlier.sqlite").write_bytes(earlier)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def _in_a_copy(harvested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(harvested, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    monkeypatch.setenv("COLUMNS", "400")


def deleted() -> None:
    LEDGER.unlink()


def zero_length() -> None:
    LEDGER.write_bytes(b"")


def header_flipped() -> None:
    content = bytearray(LEDGER.read_bytes())
    content[3] ^= 1
    LEDGER.write_bytes(content)


def page_in_the_middle() -> None:
    content = bytearray(LEDGER.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    LEDGER.write_bytes(content)


def truncated() -> None:
    LEDGER.write_bytes(LEDGER.read_bytes()[:-20_000])


def no_database() -> None:
    LEDGER.write_bytes(b"this is no database, " * 1000)


def a_folder() -> None:
    LEDGER.unlink()
    LEDGER.mkdir()


def empty_database() -> None:
    LEDGER.unlink()
    with closing(sqlite3.connect(LEDGER)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("VACUUM")


def an_older_copy() -> None:
    """As after a WAL that was lost: the manifest tells of generations that the ledger has not seen."""
    LEDGER.write_bytes(Path("earlier.sqlite").read_bytes())


def another_hand() -> None:
    """A byte that SQLite cannot know to be wrong."""
    with closing(sqlite3.connect(LEDGER)) as db:
        db.execute("UPDATE shards SET sha256 = replace(sha256, 'a', 'b') WHERE number = 0")
        db.commit()


def changed_by(statement: str) -> None:
    with closing(sqlite3.connect(LEDGER)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        assert db.execute(statement).rowcount > 0
        db.commit()


def a_time_of_no_calendar() -> None:
    changed_by("UPDATE windows SET end = 1 << 60 WHERE start = (SELECT max(start) FROM windows)")


def a_time_that_is_a_text() -> None:
    changed_by("UPDATE shards SET first = 'noon' WHERE number = 0")


def a_job_that_is_a_number() -> None:
    changed_by("UPDATE meta SET value = '7' WHERE key = 'job'")


def a_job_cut_short() -> None:
    changed_by("UPDATE meta SET value = substr(value, 1, 20) WHERE key = 'job'")


def a_rate_that_is_none() -> None:
    changed_by("INSERT INTO meta VALUES ('learned.rate', '-1')")


def a_text_that_is_none() -> None:
    changed_by("UPDATE builds SET partition = CAST(x'32ff' AS TEXT) WHERE id = (SELECT max(id) FROM builds)")


def a_path_that_leads_out() -> None:
    changed_by("INSERT INTO garbage VALUES ('dt=2024-01-01/../../job.toml')")


def versioned(version: int) -> Callable[[], None]:
    """As a flipped bit leaves it: the tables are those of today."""

    def spoil() -> None:
        with closing(sqlite3.connect(LEDGER)) as db:
            db.execute(f"PRAGMA user_version = {version}")

    spoil.__name__ = f"version_{version}"
    return spoil


def a_window_over_another() -> None:
    changed_by("UPDATE windows SET end = end + 1000 WHERE start = (SELECT min(start) FROM windows)")


def a_span_between_milliseconds() -> None:
    changed_by("UPDATE spans SET end = end - 1024")


def a_window_beyond_the_spans() -> None:
    changed_by("UPDATE windows SET end = end + (1 << 40) WHERE start = (SELECT max(start) FROM windows)")


def a_partition_of_no_calendar() -> None:
    changed_by("UPDATE builds SET partition = '2024-01-71' WHERE partition = '2024-01-01'")


def a_partition_of_another_day() -> None:
    changed_by("UPDATE builds SET partition = '2024-01-03' WHERE partition = '2024-01-01'")


def a_window_staged_in_nothing() -> None:
    changed_by("UPDATE windows SET staged = 999 WHERE start = (SELECT min(start) FROM windows)")


def newer_schema() -> None:
    with closing(sqlite3.connect(LEDGER)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def picture() -> dict[str, bytes]:
    return {
        path.as_posix(): path.read_bytes()
        for path in sorted(Path("out").rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def called(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(words)
    told = capsys.readouterr()
    assert "Traceback" not in told.err + told.out
    assert "unforeseen" not in told.err + told.out
    return code, told.err + told.out


CASES: list[tuple[Callable[[], None], dict[str, int], str]] = [
    # what happened, the code of each command, and the way out that each names that does not end with 0
    (deleted, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (zero_length, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (header_flipped, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (page_in_the_middle, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (truncated, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (no_database, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (empty_database, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out"),
    (an_older_copy, {"run": 7, "status": 0, "verify": 4, "plan": 0}, "harvester rebuild-ledger out --force"),
    (another_hand, {"run": 7, "status": 0, "verify": 4, "plan": 0}, "harvester rebuild-ledger out --force"),
    *(
        (spoil, {"run": 7, "status": 7, "verify": 4, "plan": 7}, "harvester rebuild-ledger out")
        for spoil in (
            a_time_of_no_calendar,
            a_time_that_is_a_text,
            a_job_that_is_a_number,
            a_job_cut_short,
            a_rate_that_is_none,
            a_text_that_is_none,
            a_path_that_leads_out,
            a_window_over_another,
            a_span_between_milliseconds,
            a_window_staged_in_nothing,
            a_window_beyond_the_spans,
            a_partition_of_no_calendar,
            a_partition_of_another_day,
            *map(versioned, (-2, 0, 1, 3)),
        )
    ),
    (newer_schema, {"run": 7, "status": 7, "verify": 7, "plan": 7}, "Use that version"),
    (a_folder, {"run": 7, "status": 7, "verify": 7, "plan": 7}, "move it away, then run again"),
]


@pytest.mark.parametrize(("spoil", "codes", "way_out"), CASES, ids=[case[0].__name__ for case in CASES])
def test_every_command_tells_of_a_broken_ledger_and_changes_nothing(
    spoil: Callable[[], None], codes: dict[str, int], way_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil()
    before = picture()
    for command, wanted in codes.items():
        code, told = called(command, "job.toml" if command in ("run", "plan") else "out", capsys=capsys)
        assert (command, code) == (command, wanted), told
        if code:
            assert "ledger" in told
            assert way_out in told
    assert picture() == before


@pytest.mark.parametrize(
    "spoil",
    [case[0] for case in CASES if case[0] not in (a_folder, newer_schema)],
    ids=lambda spoil: spoil.__name__,
)
def test_the_way_out_leads_out_and_nothing_is_asked_again(
    spoil: Callable[[], None], simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = manifest(Path("out"))
    spoil()
    force = ["--force"] if spoil in (an_older_copy, another_hand) else []
    code, told = called("rebuild-ledger", "out", *force, capsys=capsys)
    assert code == 0, told
    asked = simulator.stats.requests
    assert called("run", "job.toml", capsys=capsys)[0] == 0
    assert simulator.stats.requests == asked
    assert called("verify", "out", capsys=capsys)[0] == 0
    assert manifest(Path("out")) == whole


def test_a_folder_in_the_ledger_s_place_stays_and_its_way_out_leads_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = manifest(Path("out"))
    a_folder()
    (LEDGER / "mine").write_text("mine")
    for words in (["out"], ["out", "--force"]):
        code, told = called("rebuild-ledger", *words, capsys=capsys)
        assert (code, "move it away, then run again" in told) == (7, True)
    LEDGER.rename("moved away")
    code, told = called("run", "job.toml", capsys=capsys)
    assert (code, "`harvester rebuild-ledger out`" in told) == (7, True)
    assert called("rebuild-ledger", "out", capsys=capsys)[0] == 0
    assert called("run", "job.toml", capsys=capsys)[0] == 0
    assert called("verify", "out", capsys=capsys)[0] == 0
    assert manifest(Path("out")) == whole
    assert Path("moved away/mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["_manifest.json", "_SUCCESS"])
def test_a_folder_in_the_place_of_what_is_told_stays_and_is_to_be_moved_away(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("out") / name
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("mine")
    code, told = called("verify", "out", capsys=capsys)
    assert (code, name in told) == (4, True)
    code, told = called("run", "job.toml", capsys=capsys)
    assert (code, f"out/{name}" in told, "move it away" in told) == (7, True, True)
    path.rename("moved away")
    assert called("run", "job.toml", capsys=capsys)[0] == 0
    assert called("verify", "out", capsys=capsys)[0] == 0


@pytest.mark.parametrize("name", ["_harvest/ledger.sqlite", "_manifest.json"])
def test_a_file_that_may_not_be_read_is_told_as_that(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root may read all; so the tests' user is told that it may not."""
    path = Path("out") / name
    path.chmod(0)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "access", lambda path, mode, **_: name not in str(path))
        whole = Path.read_bytes

        def refused(self: Path) -> bytes:
            if self.name == path.name:
                raise PermissionError(13, "Permission denied", str(self))
            return whole(self)

        monkeypatch.setattr(Path, "read_bytes", refused)
    for words in (("verify", "out"), ("run", "job.toml"), ("rebuild-ledger", "out")):
        code, told = called(*words, capsys=capsys)
        assert code in (4, 7)
        assert name in told
        assert "read" in told
        assert "see that" in told


# --- the WAL


@pytest.fixture
def with_wal() -> bytes:
    """Leaves the output as a kill does: the second day's commits are in the WAL and not in the file."""
    shutil.rmtree("out")
    shutil.copytree("killed", "out")
    with Ledger(home_of(Path("out"))) as ledger:
        held = sqlite3.connect(LEDGER)  # a reader that stays, so that closing does not empty the WAL
        held.execute("SELECT count(*) FROM meta").fetchone()
        ledger.learn({"rate": 7.5})
    content, wal = LEDGER.read_bytes(), WAL.read_bytes()
    held.close()
    LEDGER.write_bytes(content)
    WAL.write_bytes(wal)
    return wal


@pytest.mark.parametrize("how", ["whole", "missing", "torn", "flipped", "rubbish"])
def test_a_wal_that_is_missing_or_torn_takes_back_only_what_it_held(
    with_wal: bytes, how: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "missing":
        WAL.unlink()
    elif how == "torn":
        WAL.write_bytes(with_wal[:-100])
    elif how == "flipped":
        flip(WAL)
    elif how == "rubbish":
        WAL.write_bytes(b"rubbish" * 1000)
    code, told = called("status", "out", "--json", capsys=capsys)
    assert code == 0
    assert ('"rate": 7.5' in told) is (how == "whole")
    assert called("verify", "out", capsys=capsys)[0] == 0
    assert called("run", "job.toml", capsys=capsys)[0] == 0
    assert called("verify", "out", capsys=capsys)[0] == 0
    shards = {shard["path"]: shard["sha256"] for shard in manifest(Path("out"))["shards"]}
    shutil.rmtree("out")
    assert called("run", "job.toml", capsys=capsys)[0] == 0
    assert shards == {shard["path"]: shard["sha256"] for shard in manifest(Path("out"))["shards"]}


# --- locks


def test_a_ledger_that_another_program_holds_ends_a_run_with_7_and_a_reader_reads_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file, "BUSY_S", 0.05)
    with closing(sqlite3.connect(LEDGER, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = picture()
        code, told = called("run", "job.toml", "--end", "2024-01-04", capsys=capsys)
        assert code == 7
        assert (
            "ledger.sqlite: another program held the ledger locked for 0.05 s; close what has it open" in told
        )
        assert called("status", "out", capsys=capsys)[0] == 0
        assert called("verify", "out", capsys=capsys)[0] == 0
        assert {name: before[name] for name in before} == {name: picture()[name] for name in before}
        other.execute("ROLLBACK")
    assert called("run", "job.toml", capsys=capsys)[0] == 0


def test_a_reader_that_is_locked_out_says_so_and_finds_no_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file, "BUSY_S", 0.05)
    with closing(sqlite3.connect(LEDGER, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT INTO garbage VALUES ('x')")
        for command in ("status", "verify"):
            code, told = called(command, "out", capsys=capsys)
            assert (code, "close what has it open" in told) == (7, True)
        other.execute("ROLLBACK")


def test_a_file_system_without_locks_is_an_error_and_not_a_free_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    before = picture()
    code, told = called("run", "job.toml", capsys=capsys)
    assert code == 7
    assert "_harvest/lock: cannot be locked (No locks available)" in told
    assert "local disk" in told
    assert not is_held(home_of(Path("out")))
    assert called("verify", "out", capsys=capsys)[0] == 0
    assert picture() == before


def test_a_lock_whose_file_was_removed_is_not_taken_for_one(tmp_path: Path) -> None:
    """Else the next run would make the file anew, lock that, and there were two."""
    taken = lock.Lock(tmp_path)
    whole = taken._take
    removed: list[bool] = []

    def removed_before_it_is_taken() -> None:
        if not removed:
            (tmp_path / "lock").unlink()
            removed.append(True)
        whole()

    taken._take = removed_before_it_is_taken  # type: ignore[method-assign]
    with taken:
        assert is_held(tmp_path)
