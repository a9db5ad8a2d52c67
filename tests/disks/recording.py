"""Every call that changes an output, in one order: those of `harvester.syscalls` and SQLite's own.

It is counted, written down with its data, and then happens, fails, or ends the process.

The record is appended call by call, so that it outlives a SIGKILL, and the record of the next process goes on
in it.
"""

import fcntl
import os
import pickle
import signal
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from errno import EACCES, EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Any, Final, TypeVar

from harvester import syscalls
from tests.disks.choosing import Spot
from tests.disks.record import Operation, names_after, operations
from tests.disks.vfs import CREATE, OK, Listener, Tap

_T = TypeVar("_T")
_File = tuple[int, int]
_Part = int | str
"""Of a file: an offset that was written; of a folder: a name that was given or taken away."""

_FULL: Final = {"mkdir", "create", "link", "write"}
_NAMES: Final = {"mkdir", "create", "link", "rename", "unlink", "rmdir"}
_ALL: Final = {*_NAMES, "write", "truncate", "sync", "sync_folder"}
FAILING: Final = {
    ENOSPC: _FULL,
    EDQUOT: _FULL,
    EIO: _ALL,
    EROFS: _ALL - {"sync", "sync_folder"},
    EACCES: _NAMES,
}
"""What each error of a disk can meet."""

_SQLITE_FULL, _SQLITE_CANTOPEN = 13, 14
_SQLITE_IOERR: Final = {"write": 778, "sync": 1034, "truncate": 1546, "unlink": 2570}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What happens at a call."""

    at: Spot
    kind: str
    """kill: the process ends before the call; tear: half of a write is done before it ends; fail."""
    error: int = 0
    """One that the call can meet."""
    lasting: bool = False
    """The error meets every later call that it can meet, as on a disk that is full for good."""
    torn: bool = False
    """Half of the block that failed was written."""


class Recorder(Listener):
    """`install` once in a process that is about to run a harvest on a folder below `world`."""

    def __init__(self, world: Path, *, record: Path | None = None, blow: Blow | None = None) -> None:
        self._world = world.resolve()
        self._blow = blow
        self._lock = threading.RLock()
        self._real = {
            name: getattr(syscalls, name)
            for name in "create write sync make_folder link rename unlink remove_folder".split()
        }
        self._files: dict[_File, int] = {}
        self._unsynced: dict[_File, set[_Part]] = {}
        """Where each file was written since it was last synced, and which folders have other names since."""
        self._lost: dict[_File, set[_Part]] = {}
        """Of that what a sync that failed may have dropped, until it is written again or cut off."""
        self.struck = 0
        """The number of the call that failed first."""
        self._seen = 0
        """Calls so far that the spot of the blow may be."""
        self.kinds: list[str] = []
        self.places: list[str] = []
        """What each call was about, relative to `world`."""
        self.retried: list[str] = []
        """Files and folders that were synced again after a sync had failed, and not all written again."""
        self._known: set[_File] = set()
        """Folders that were synced in this process. What another one left in a folder may wait for a sync."""
        self._numbers = 0
        self._record = None if record is None else self._begun(record)

    def told(self) -> dict[str, Any]:
        return {
            "kinds": self.kinds,
            "places": self.places,
            "retried": self.retried,
            "struck": self.struck,
        }

    # --- the record

    def _begun(self, record: Path) -> Any:
        names: dict[str, int] = {}
        if record.exists():
            for operation in operations(record):
                names = names_after(names, operation)
            self._numbers = max(names.values(), default=0) + 1_000_000
        else:
            paths = sorted(path for path in self._world.rglob("*"))
            files = {
                path.relative_to(self._world).as_posix(): path.read_bytes()
                for path in paths
                if path.is_file()
            }
            files = {path: content for path, content in files.items() if not path.endswith("-shm")}
            folders = [path.relative_to(self._world).as_posix() for path in paths if path.is_dir()]
            base: Operation = ("base", files, folders)
            record.write_bytes(pickle.dumps(base))
            names = names_after({}, base)
            self._numbers = len(names)
        for path, number in names.items():
            state = os.stat(self._world / path)
            self._files[_id(state)] = number
        return record.open("ab", buffering=0)

    def _note(self, *operation: Any) -> None:
        if self._record is not None and None not in operation:
            self._record.write(pickle.dumps(operation))

    def _new(self, state: os.stat_result) -> int:
        self._numbers += 1
        self._files[_id(state)] = self._numbers
        self._cut(_id(state), 0)  # of a file that is gone, whose number this one has got
        return self._numbers

    def _file(self, state: os.stat_result) -> int:
        return self._files.get(_id(state), -1)

    # --- where a call is in the world

    def _inside(self, path: str) -> str | None:
        path = os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path) if path != "/" else path
        root = f"{self._world}/"
        return path.removeprefix(root) if path.startswith(root) else "" if path + "/" == root else None

    def _named(self, name: str | Path, folder: int | None) -> str | None:
        return self._inside(
            os.path.join(_path_of(folder), name) if folder is not None else os.path.abspath(name)
        )

    # --- the calls of harvester

    def install(self) -> None:
        real = self._real

        def create(name: Any, *, folder: int | None = None) -> int:
            def go() -> int:
                handle: int = real["create"](name, folder=folder)
                self._note("create", self._named(name, folder), self._new(os.fstat(handle)))
                return handle

            return self._meet("create", self._named(name, folder), go)

        def write(file: int, block: Any) -> int:
            state, offset = os.fstat(file), os.lseek(file, 0, os.SEEK_CUR)

            def go(part: Any = block) -> int:
                written: int = real["write"](file, part)
                self._note("write", self._file(state), offset, bytes(part[:written]))
                self._rewritten(_id(state), offset)
                return written

            known = _id(state) in self._files or self._record is None
            if not known or self._inside(_path_of(file)) is None:
                return go()
            return self._meet("write", _path_of(file), go, half=lambda: go(block[: len(block) // 2]))

        def sync(file: int) -> None:
            state, path = os.fstat(file), _path_of(file)
            inside = self._inside(path)
            kind = "sync_folder" if stat.S_ISDIR(state.st_mode) else "sync"

            def go() -> None:
                real["sync"](file)
                self._note(kind, inside if kind == "sync_folder" else self._file(state))

            return go() if inside is None else self._meet(kind, path, go, synced=_id(state))

        def one(kind: str, call: str) -> Callable[..., None]:
            def calling(name: Any, *, folder: int | None = None) -> None:
                path = self._named(name, folder)

                def go() -> None:
                    real[call](name, folder=folder)
                    self._note(kind, path)

                return self._meet(kind, path, go)

            return calling

        def link(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
            paths = self._named(source, source_folder), self._named(target, target_folder)

            def go() -> None:
                real["link"](source, target, source_folder=source_folder, target_folder=target_folder)
                self._note("link", *paths)

            return self._meet("link", paths[1], go)

        def rename(source: Any, target: Any, *, folder: int | None = None) -> None:
            paths = self._named(source, folder), self._named(target, folder)

            def go() -> None:
                real["rename"](source, target, folder=folder)
                if None not in paths:
                    self._note("rename", *paths)

            return self._meet("rename", paths[1], go)

        ours = {"create": create, "write": write, "sync": sync, "link": link, "rename": rename}
        ours |= {"make_folder": one("mkdir", "make_folder"), "unlink": one("unlink", "unlink")}
        ours |= {"remove_folder": one("rmdir", "remove_folder")}
        for name, function in ours.items():
            setattr(syscalls, name, function)
        Tap(self).install()

    def _meet(
        self,
        kind: str,
        path: str | None,
        go: Callable[[], _T],
        *,
        half: Callable[[], Any] | None = None,
        synced: _File | None = None,
        refuse: Callable[[int], _T] | None = None,
    ) -> _T:
        if path is None:
            return go()
        with self._lock:
            self.kinds.append(kind)
            self.places.append(path.removeprefix(str(self._world)).lstrip("/") or ".")
            blow = self._blow
            is_there = blow is not None and self._is_at(blow.at)
            if blow is not None and is_there and blow.kind in ("kill", "tear"):
                if blow.kind == "tear" and half is not None:
                    half()
                os.kill(os.getpid(), signal.SIGKILL)
            if blow is not None and (is_there or self._goes_on(blow, kind)):
                if half is not None and blow.torn and not self.struck:
                    half()
                self.struck = self.struck or len(self.kinds)
                if synced is not None:
                    self._retry(synced, path)
                    self._lost[synced] = self._since(synced, kind)
                if refuse is not None:
                    return refuse(blow.error)
                raise OSError(blow.error, os.strerror(blow.error))
            if synced is not None:
                self._retry(synced, path)
                self._unsynced.pop(synced, None)
                self._known.add(synced)
            elif kind in _NAMES:
                done = go()
                self._renamed(path, is_gone=kind in ("unlink", "rmdir"))
                return done
            return go()

    def _is_at(self, spot: Spot) -> bool:
        """Whether the call under way is the one."""
        if not spot.may_be(self.kinds[-1], self.places[-1]):
            return False
        self._seen += 1
        return self._seen == spot.nth

    def _goes_on(self, blow: Blow, kind: str) -> bool:
        return blow.lasting and self.struck > 0 and kind in FAILING[blow.error]

    def _since(self, file: _File, kind: str) -> set[_Part]:
        """What a sync that fails now may drop."""
        unknown = {""} if kind == "sync_folder" and file not in self._known else set()
        return {*self._unsynced.get(file, ()), *self._lost.get(file, ()), *unknown}

    def _renamed(self, path: str, *, is_gone: bool) -> None:
        above, name = os.path.split(os.path.join(self._world, path))
        folder = _id(os.stat(above))
        self._unsynced.setdefault(folder, set()).add(name)
        if is_gone:
            self._lost.get(folder, set()).discard(name)

    def _rewritten(self, file: _File, offset: int) -> None:
        self._unsynced.setdefault(file, set()).add(offset)
        self._lost.get(file, set()).discard(offset)

    def _cut(self, file: _File, size: int) -> None:
        for known in (self._unsynced, self._lost):
            known[file] = {part for part in known.get(file, ()) if isinstance(part, str) or part < size}

    def _retry(self, file: _File, path: str) -> None:
        if self._lost.get(file):
            self.retried.append(path)

    # --- the calls of SQLite

    def opened(self, path: str, flags: int, go: Callable[[], int]) -> int:
        inside = self._inside(path)
        if inside is None or not flags & CREATE or os.path.exists(path):
            return go()

        def making() -> int:
            code = go()
            if code == OK and os.path.exists(path):
                self._note("create", inside, self._new(os.stat(path)))
            return code

        return self._meet("create", path, making, refuse=lambda error: _SQLITE_CANTOPEN)

    def wrote(self, path: str, block: bytes, offset: int, go: Callable[[bytes], int]) -> int:
        if self._inside(path) is None:
            return go(block)

        def writing(part: bytes = block) -> int:
            code, state = go(part), os.stat(path)
            self._note("write", self._file(state), offset, part)
            self._rewritten(_id(state), offset)
            return code

        def half() -> None:
            writing(block[: len(block) // 2])

        return self._meet("write", path, writing, half=half, refuse=_full_or("write"))

    def truncated(self, path: str, size: int, go: Callable[[], int]) -> int:
        def cutting() -> int:
            code, state = go(), os.stat(path)
            self._note("truncate", self._file(state), size)
            self._cut(_id(state), size)
            return code

        return self._meet("truncate", self._inside(path), cutting, refuse=_full_or("truncate"))

    def synced(self, path: str, go: Callable[[], int]) -> int:
        if self._inside(path) is None:
            return go()
        state = os.stat(path)

        def syncing() -> int:
            code = go()
            self._note("sync", self._file(state))
            return code

        return self._meet("sync", path, syncing, synced=_id(state), refuse=_full_or("sync"))

    def deleted(self, path: str, go: Callable[[], int]) -> int:
        inside = self._inside(path)
        if inside is None or not os.path.exists(path):
            return go()

        def deleting() -> int:
            self._note("unlink", inside)  # before: `go` may sync the folder as well
            return go()

        return self._meet("unlink", path, deleting, refuse=_full_or("unlink"))

    def folder_synced(self, beside: str, go: Callable[[], int]) -> int:
        folder = os.path.dirname(beside)
        inside = self._inside(folder)

        def syncing() -> int:
            self._note("sync_folder", inside)
            return go()

        file = _id(os.stat(folder))
        return self._meet("sync_folder", inside, syncing, synced=file, refuse=lambda error: _SQLITE_CANTOPEN)


def _full_or(kind: str) -> Callable[[int], int]:
    """As SQLite's unix VFS words what the system said."""
    return lambda error: _SQLITE_FULL if kind == "write" and error == ENOSPC else _SQLITE_IOERR[kind]


def _id(state: os.stat_result) -> _File:
    return state.st_dev, state.st_ino


def _path_of(handle: int) -> str:
    if hasattr(fcntl, "F_GETPATH"):
        return fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{handle}")
