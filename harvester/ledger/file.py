"""The ledger as a file, `OUT/_harvest/ledger.sqlite`: opened, checked, brought to this version's tables.

Others may read while a run writes (WAL); two writers are kept apart by lock.py. Whatever SQLite or the disk
say becomes an error that names the file and the way out; where a ledger is refused, nothing was changed.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harvester.errors import LedgerDamaged, LedgerEmpty, StorageError
from harvester.ledger.schema import SCHEMA_VERSION, upgrade, version_of

NAME: Final = "ledger.sqlite"
BUSY_S: Final = 10
"""How long another program may hold the file: a backup or a browser of databases needs it for moments."""
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def home_of(out: Path) -> Path:
    return out / "_harvest"


def is_begun(out: Path) -> bool:
    return (home_of(out) / NAME).exists()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: the ledger could not be opened: {error.strerror}") from error
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
            raise StorageError(
                f"{path}: another program held the ledger locked for {BUSY_S} s; close what has it open (a "
                "browser of databases, a backup), then run again"
            ) from error
        raise StorageError(f"{path}: the ledger could not be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerDamaged(_damaged(path, str(error))) from error


def _damaged(path: Path, what: str) -> str:
    return (
        f"{path}: the ledger is damaged ({what}); nothing was changed. `harvester rebuild-ledger "
        f"{path.parent.parent}` restores it from the manifest and the shards"
    )


class LedgerFile:
    """Open between `with` and its end. With `read_only` nothing is written, not even to upgrade it."""

    def __init__(self, home: Path, *, read_only: bool = False, check: bool = True) -> None:
        self._path = home / NAME
        self._read_only = read_only
        self._check = check
        self._db: sqlite3.Connection = None  # type: ignore[assignment]

    def __enter__(self) -> Self:
        with explained(self._path):
            self._db = self._connected_to_read() if self._read_only else self._connected()
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with explained(self._path):
            self._db.close()

    def _connected(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)

    def _connected_to_read(self) -> sqlite3.Connection:
        """Without a writer there is no WAL, and nothing has to be made beside the file to read it: so an
        output on a read-only disk can be looked at, and looking leaves no trace.
        """
        mode = "mode=ro" if self._path.with_name(f"{NAME}-wal").exists() else "immutable=1"
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )

    def _open(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000}")
        self._db.execute("PRAGMA foreign_keys = ON")
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone() if self._check else ("ok",)
        if verdict != "ok":
            raise LedgerDamaged(_damaged(self._path, verdict))
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
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            upgrade(self._db)
        elif version == 0:
            raise LedgerEmpty(f"{self._path}: the ledger is empty; run the job to begin it")
        elif version < SCHEMA_VERSION:
            self._read_a_copy()

    def _read_a_copy(self) -> None:
        """Goes on in a temporary file of SQLite's own, brought to this version's tables: the ledger itself
        waits for the next run.
        """
        copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            self._db.backup(copy)
            upgrade(copy)
        except BaseException:
            copy.close()
            raise
        self._db.close()
        self._db = copy

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[Any]:
        with explained(self._path):
            return self._db.execute(query, values).fetchall()
