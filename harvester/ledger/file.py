"""The ledger as a file, `OUT/_harvest/ledger.sqlite`: opened, checked, brought to this version's tables.

Others may read while a run writes (WAL); two writers are kept apart by lock.py. Whatever SQLite or the disk
say becomes an error that names the file and the way out; where a ledger is refused, nothing was changed.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from harvester.errors import LedgerDamaged, LedgerEmpty, StorageError
from harvester.ledger.contents import odd_cell
from harvester.ledger.schema import SCHEMA_VERSION, upgrade, version_of
from harvester.shards.disk import Disk

NAME: Final = "ledger.sqlite"
BUSY_S: Final = 10
"""How long another program may hold the file: a backup or a browser of databases needs it for moments."""
WAL_PAGES: Final = 65_536
"""Pages of 4 KiB in the WAL before they go into the file; a run over ten years of hours hardly gets there.
Until then the file stays as it is, so that a copy made in the middle of a run (`cp -a`) holds a true ledger.
"""
LONGEST_PATH: Final = 504
"""Bytes: SQLite has room for 512, with the end of a name beside it."""
_TRIES: Final = 5
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def home_of(out: Path) -> Path:
    return out / "_harvest"


def is_begun(out: Path) -> bool:
    return (home_of(out) / NAME).exists()


def check_files(home: Path) -> None:
    """Raises StorageError where something else stands in the place of the ledger's files: SQLite would say no
    more than that it cannot open them.
    """
    for path in (home / NAME, home / f"{NAME}-wal"):
        if path.exists() and not path.is_file():
            raise StorageError(
                f"{path}: a folder, a pipe or a device stands in the place of the ledger's file; move it "
                "away, then run again. If no ledger is left then, "
                f"`harvester rebuild-ledger {home.parent}` restores it"
            )


def keep_to_oneself(home: Path) -> None:
    """For who holds the lock: a copy of the output that was made by hard links (`cp -al`) has this very
    ledger, and what is written to one would be in both. No other file of an output is written to again.
    """
    disk = Disk(home.parent)
    for end in ("", "-wal", "-shm"):
        disk.separate(f"{home.name}/{NAME}{end}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: the ledger could not be opened: {error.strerror}; see that it is a file of yours that "
            "can be written, then run again"
        ) from error
    except sqlite3.OperationalError as error:
        # Without a code it is Python's word: a text that is none. SQLITE_ERROR is what SQLite says of tables
        # and columns that are not there, or are twice.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise _damaged(path, str(error)) from error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
            raise StorageError(
                f"{path}: another program held the ledger locked for {BUSY_S} s; close what has it open (a "
                "browser of databases, a backup), then run again"
            ) from error
        raise StorageError(
            f"{path}: the ledger could not be used: {error}; see that there is space and that its folder can "
            "be read and written, then run again to go on"
        ) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _is_of_the_disk(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.OperationalError) and code is not None and code & 0xFF not in _BUSY


def _damaged(path: Path, what: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"{path}: the ledger is damaged ({what}); nothing was changed. `harvester rebuild-ledger "
        f"{path.parent.parent}` restores it from the manifest and the shards",
        f"is damaged ({what})",
    )


class _Stamp(NamedTuple):
    """Changes when somebody writes."""

    inode: int
    size_bytes: int
    modified_ns: int
    has_wal: bool


def _copied(db: sqlite3.Connection) -> sqlite3.Connection:
    """The same in a temporary file of SQLite's own; the original is closed."""
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        db.backup(copy)
    except BaseException:
        copy.close()
        raise
    finally:
        db.close()
    return copy


class LedgerFile:
    """Open between `with` and its end. With `read_only` nothing is written, not even to upgrade it."""

    def __init__(self, home: Path, *, read_only: bool = False, check: bool = True) -> None:
        self._path = home / NAME
        self._read_only = read_only
        self._check = check
        self._db: sqlite3.Connection = None  # type: ignore[assignment]
        self._doubtful = False
        """A write or a sync failed. Nothing more is written: a sync that is tried again may succeed although
        the kernel has dropped what it was to write.
        """

    def __enter__(self) -> Self:
        with explained(self._path):
            self._db = self._connected_to_read() if self._read_only else self._connected()
            try:
                self._open()
            except BaseException as error:
                self._doubtful = _is_of_the_disk(error)
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with explained(self._path):
            self._close()

    def _close(self) -> None:
        """The last one to close moves the log into the file and syncs both, but not where that may lie: then
        a reader closes last, and the next run finds the log as it is.
        """
        if self._read_only or not self._doubtful:
            self._db.close()
            return
        with closing(self._connected_as("mode=ro")) as last:
            with suppress(sqlite3.Error):
                last.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self._db.close()

    @property
    def _name(self) -> str:
        """In its output."""
        return f"{self._path.parent.name}/{NAME}"

    def _connected(self) -> sqlite3.Connection:
        os.close(Disk(self._path.parent.parent).open_or_create(self._name))
        path = self._path.absolute()  # what begins with "file:" SQLite takes for an address
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise StorageError(
                f"{path}: the ledger's path is longer than the {LONGEST_PATH} bytes that SQLite opens; "
                "choose an output.url with a shorter path"
            )
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def _connected_to_read(self) -> sqlite3.Connection:
        """Without a writer there is no WAL, and nothing has to be made beside the file to read it: so an
        output on a read-only disk can be looked at, and looking leaves no trace. A writer may come all the
        same, so it is copied, and what was copied counts where nothing has changed meanwhile.
        """
        Disk(self._path.parent.parent).size(self._name)  # no link: SQLite would follow one
        check_files(self._path.parent)
        if not os.access(self._path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StorageError(
                f"{self._path}: you may not read the ledger; see that it is yours and can be read and "
                f"written, as by `chmod 600 {self._path}`, then run again"
            )
        for _ in range(_TRIES):
            before = self._stamp()
            if before.has_wal:
                return self._connected_as("mode=ro")
            db = _copied(self._connected_as("immutable=1"))
            if self._stamp() == before:
                return db
            db.close()
        raise StorageError(f"{self._path}: the ledger changes while it is read; look again in a moment")

    def _connected_as(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)

    def _stamp(self) -> "_Stamp":
        state = self._path.stat()
        has_wal = self._path.with_name(f"{NAME}-wal").exists()
        return _Stamp(state.st_ino, state.st_size, state.st_mtime_ns, has_wal)

    def _open(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        self._db.execute("PRAGMA foreign_keys = ON")
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone() if self._check else ("ok",)
        if verdict != "ok":
            raise _damaged(self._path, verdict)
        version = version_of(self._db)
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{self._path}: made by a newer version of harvester (ledger schema {version}; this one "
                f"knows up to {SCHEMA_VERSION}); nothing was changed. Use that version, or harvest into a "
                "new folder"
            )
        if not self._read_only:
            # FULL: in WAL mode each commit is synced. With less, a power loss could take back what was
            # said done.
            has_log = self._path.with_name(f"{NAME}-wal").exists()
            # Read to its end: the change is committed after the row, and an unfetched error is lost.
            ((mode,),) = self._db.execute("PRAGMA journal_mode = WAL").fetchall()
            if mode != "wal":
                raise StorageError(
                    f"{self._path}: the ledger could not be given a log (WAL); see that there is space and "
                    "that its folder can be written, on a disk with locks and shared memory, then run again"
                )
            # Read, so that the log is made now. SQLite syncs the folder that names it with the first commit,
            # and does not ask whether that failed.
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            Disk(self._path.parent.parent).sync_folder(self._path.parent.name)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            if has_log and version:  # else nothing was committed, and SQLite says "locked"
                # What a killed run left in the log is read as committed, although it may never have been
                # synced. It is made durable before anything is done that only it allows.
                self._db.execute("PRAGMA wal_checkpoint").fetchall()
            upgrade(self._db)
        elif version == 0:
            if self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise _damaged(self._path, "it has tables, and no version")
            raise LedgerEmpty(
                f"{self._path}: the ledger is empty. Run the job to begin it; where the output has a "
                f"manifest, `harvester rebuild-ledger {self._path.parent.parent}` restores it",
                "is empty",
            )
        elif version < SCHEMA_VERSION:
            # In a copy: the ledger itself waits for the next run.
            self._db = _copied(self._db)
            upgrade(self._db)
        where = odd_cell(self._db) if self._check else None
        if where is not None:
            raise _damaged(self._path, f"{where} holds what no run writes there")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._doubtful:
            raise StorageError(
                f"{self._path}: an earlier write to the ledger failed; mend the disk, then run again"
            )
        with explained(self._path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                self._doubtful = _is_of_the_disk(error)
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[Any]:
        with explained(self._path):
            return self._db.execute(query, values).fetchall()
