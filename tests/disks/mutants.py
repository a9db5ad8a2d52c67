"""The program, broken on purpose: what keeps an output whole through a power loss or on a failing disk,
taken away.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from harvester import syscalls
from harvester.ledger import Ledger
from harvester.ledger import file as ledger_file
from harvester.shards.disk import Disk


def _put(owner: type, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def _no_sync() -> None:
    """Files are not synced; folders and the ledger are."""

    def closed(self: Disk, file: Any, relative: str) -> None:
        file.close()

    _put(Disk, "close_durably", closed)


def _no_folder_sync() -> None:
    _put(Disk, "_sync", lambda self, relative, handle: None)


def _ledger_before_data() -> None:
    """What a seal names is synced after the ledger has said so."""
    late: list[Callable[[], None]] = []
    synced, seal = Disk.sync_folder, Ledger.seal

    def closed(self: Disk, file: Any, relative: str) -> None:
        if "staging" not in relative:
            with file:
                syscalls.sync(file.fileno())
            return
        late.append(partial(syscalls.sync, os.dup(file.fileno())))
        file.close()

    def folder(self: Disk, relative: str) -> None:
        if late and relative.endswith("staging"):
            late.append(partial(synced, self, relative))
        else:
            synced(self, relative)

    def sealed(self: Ledger, *values: Any, **named: Any) -> None:
        seal(self, *values, **named)
        while late:
            late.pop(0)()

    _put(Disk, "close_durably", closed)
    _put(Disk, "sync_folder", folder)
    _put(Ledger, "seal", sealed)


def _ledger_not_synced() -> None:
    opened = ledger_file.LedgerFile._open

    def opening(self: ledger_file.LedgerFile) -> None:
        opened(self)
        self._db.execute("PRAGMA synchronous = OFF")

    _put(ledger_file.LedgerFile, "_open", opening)


LOSING: Final[dict[str, Callable[[], None]]] = {
    "no fsync": _no_sync,
    "no directory fsync": _no_folder_sync,
    "ledger before data": _ledger_before_data,
    "synchronous=OFF": _ledger_not_synced,
}
"""What the sweep over power losses has to see."""


def _sync_retried() -> None:
    """As many a program does, and the kernel then says that all is well."""
    sync = syscalls.sync

    def insisting(file: int) -> None:
        try:
            sync(file)
        except OSError:
            sync(file)

    syscalls.sync = insisting


def _sync_error_swallowed() -> None:
    sync = syscalls.sync

    def quiet(file: int) -> None:
        with suppress(OSError):
            sync(file)

    syscalls.sync = quiet


def _write_error_swallowed() -> None:
    write = syscalls.write

    def quiet(file: int, block: bytes | memoryview) -> int:
        try:
            return write(file, block)
        except OSError:
            return len(block)

    syscalls.write = quiet


def _ledger_error_swallowed() -> None:
    @contextmanager
    def transaction(self: ledger_file.LedgerFile) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        yield self._db
        with suppress(sqlite3.OperationalError):
            self._db.execute("COMMIT")
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    _put(ledger_file.LedgerFile, "_transaction", transaction)


BREAKING: Final[dict[str, Callable[[], None]]] = {
    "fsync retried": _sync_retried,
    "error of fsync swallowed": _sync_error_swallowed,
    "error of write swallowed": _write_error_swallowed,
    "error of the ledger swallowed": _ledger_error_swallowed,
}
"""What the sweep over broken disks has to see."""
