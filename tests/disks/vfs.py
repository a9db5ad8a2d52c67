"""SQLite's own calls: its "unix" VFS with the methods that change a file replaced by ours, as the default.

The library is the one that Python's `sqlite3` uses. A file keeps SQLite's own structure; only its table of
methods is a copy in which write, truncate and sync lead here first. Shared memory (`-shm`) is left alone:
SQLite makes it anew whenever the first connection opens the log, so nothing in it has to last.
"""

import _sqlite3
import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any, Final

OK: Final = 0
FOLDER_NOT_SYNCED: Final = 1290
"""SQLITE_IOERR_DIR_FSYNC"""
CREATE: Final = 0x4
_METHODS: Final = (
    "xClose xRead xWrite xTruncate xSync xFileSize xLock xUnlock xCheckReservedLock xFileControl "
    "xSectorSize xDeviceCharacteristics xShmMap xShmLock xShmBarrier xShmUnmap xFetch xUnfetch"
).split()


class _Methods(ctypes.Structure):
    _fields_ = [("iVersion", c_int), *((name, c_void_p) for name in _METHODS)]


class _File(ctypes.Structure):
    _fields_ = [("pMethods", POINTER(_Methods))]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        *((name, c_void_p) for name in ("xOpen", "xDelete", "xAccess", "xFullPathname")),
        *((name, c_void_p) for name in ("xDlOpen", "xDlError", "xDlSym", "xDlClose")),
        *((name, c_void_p) for name in ("xRandomness", "xSleep", "xCurrentTime", "xGetLastError")),
        *((name, c_void_p) for name in ("xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall", "xNext")),
    ]


# Names as pointers: SQLite keeps them, and a copy of ours would be gone.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_OPEN_FOLDER = CFUNCTYPE(c_int, c_void_p, POINTER(c_int))
_SET_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_FOLDER_OF: Final = b"openDirectory"


_INSTALLED: Final[list["Tap"]] = []
"""SQLite keeps pointers to what is in here, of which the collector of garbage knows nothing."""


class Listener:
    """What happens to SQLite's files. A method calls `go` where the call is to happen; its result counts."""

    def opened(self, path: str, flags: int, go: Callable[[], int]) -> int:
        return go()

    def wrote(self, path: str, block: bytes, offset: int, go: Callable[[bytes], int]) -> int:
        return go(block)

    def truncated(self, path: str, size: int, go: Callable[[], int]) -> int:
        return go()

    def synced(self, path: str, go: Callable[[], int]) -> int:
        return go()

    def deleted(self, path: str, go: Callable[[], int]) -> int:
        return go()

    def folder_synced(self, beside: str, go: Callable[[], int]) -> int:
        """The folder of the file `beside` is to be synced. SQLite asks whether that failed where a file was
        removed, and not behind the first sync of a new one.
        """
        return go()


class Tap:
    """Stands between SQLite and the disk from `install` on, for the rest of the process."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._kept: list[Any] = []
        self._tables: dict[int, _Methods] = {}
        self._paths: dict[int, str] = {}
        self._refused = False
        """Whether the last sync of a folder failed."""

    def install(self) -> None:
        _INSTALLED.append(self)
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [c_char_p]
        library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        library.sqlite3_initialize()
        unix = library.sqlite3_vfs_find(b"unix").contents
        own = _Vfs.from_buffer_copy(unix)
        own.zName = b"tapped"
        own.pNext = None
        own.xOpen = self._pointer(_OPEN, self._opening(_OPEN(unix.xOpen)))
        own.xDelete = self._pointer(_DELETE, self._deleting(_DELETE(unix.xDelete)))
        address = ctypes.addressof(unix)
        folder_of = _OPEN_FOLDER(_GET_CALL(unix.xGetSystemCall)(address, _FOLDER_OF))

        def opening_folder(path: int, handle: Any) -> int:
            """SQLite opens a folder to sync it, and for nothing else."""
            code = self._listener.folder_synced(
                ctypes.string_at(path).decode(), lambda: int(folder_of(path, handle))
            )
            self._refused = code != OK
            return code

        pointer = self._pointer(_OPEN_FOLDER, opening_folder)
        _SET_CALL(unix.xSetSystemCall)(address, _FOLDER_OF, pointer)
        self._kept += [own, unix, library]
        library.sqlite3_vfs_register(ctypes.byref(own), 1)

    def _pointer(self, kind: Any, function: Callable[..., int]) -> int:
        made = kind(function)
        self._kept.append(made)
        return int(ctypes.cast(made, c_void_p).value or 0)

    def _opening(self, real: Any) -> Callable[..., int]:
        def opening(vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
            if name is None:  # a temporary file of its own
                return int(real(vfs, name, file, flags, out))
            path = ctypes.string_at(name).decode()
            code = self._listener.opened(path, flags, lambda: int(real(vfs, name, file, flags, out)))
            if code == OK:
                self._paths[file] = path
                opened = _File.from_address(file)
                opened.pMethods = ctypes.pointer(self._table(opened.pMethods.contents))
            else:
                ctypes.memset(file, 0, ctypes.sizeof(_File))  # nothing to close
            return code

        return opening

    def _deleting(self, real: Any) -> Callable[..., int]:
        def deleting(vfs: int, name: int, sync_folder: int) -> int:
            self._refused = False
            code = self._listener.deleted(
                ctypes.string_at(name).decode(), lambda: int(real(vfs, name, sync_folder))
            )
            return FOLDER_NOT_SYNCED if code == OK and self._refused else code

        return deleting

    def _table(self, real: _Methods) -> _Methods:
        """A copy of SQLite's table of methods; one for each of its own, kept for good."""
        address = ctypes.addressof(real)
        if address in self._tables:
            return self._tables[address]
        listener, paths = self._listener, self._paths
        write, truncate = _WRITE(real.xWrite), _TRUNCATE(real.xTruncate)
        sync, close = _SYNC(real.xSync), _CLOSE(real.xClose)

        def writing(file: int, data: int, size: int, offset: int) -> int:
            def go(block: bytes) -> int:
                return int(write(file, ctypes.cast(c_char_p(block), c_void_p), len(block), offset))

            return listener.wrote(paths[file], ctypes.string_at(data, size), offset, go)

        def truncating(file: int, size: int) -> int:
            return listener.truncated(paths[file], size, lambda: int(truncate(file, size)))

        def syncing(file: int, flags: int) -> int:
            return listener.synced(paths[file], lambda: int(sync(file, flags)))

        def closing(file: int) -> int:
            paths.pop(file, None)
            return int(close(file))

        own = _Methods.from_buffer_copy(real)
        own.xWrite = self._pointer(_WRITE, writing)
        own.xTruncate = self._pointer(_TRUNCATE, truncating)
        own.xSync = self._pointer(_SYNC, syncing)
        own.xClose = self._pointer(_CLOSE, closing)
        self._tables[address] = own
        return own
