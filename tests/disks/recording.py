"""Every call that changes an output, in one order: those of `harvester.syscalls` and SQLite's own.

It is counted, written down with its data, and then happens, fails, or ends the process.

An operation is a tuple, paths relative to the folder that holds the output, files by a number that names and
renames do not change::

    ("base", {path: bytes}, [folder])   what was there before, durably
    ("mkdir", path)  ("create", path, file)  ("link", path, path)  ("rename", path, path)
    ("unlink", path)  ("rmdir", path)  ("write", file, offset, bytes)  ("truncate", file, size)
    ("sync", file)  ("sync_folder", path)

The record is appended call by call, so that it outlives a SIGKILL, and the record of the next process goes on
in it.
"""

import fcntl
import os
import pickle
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EACCES, EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Any, Final, TypeVar

from harvester import syscalls
from tests.disks.vfs import CREATE, OK, Listener, Tap

Operation = tuple[Any, ...]
_T = TypeVar("_T")

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
    """What happens at the call with this number, the first being 1."""

    at: int
    kind: str
    """kill: the process ends before the call; tear: half of a write is done before it ends; fail."""
    error: int = 0
    lasting: bool = False
    """The error meets every later call that it can meet, as on a disk that is full for good."""
    torn: bool = False
    """Half of the block that failed was written."""


def operations(record: Path) -> Iterator[Operation]:
    with record.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


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
        self._files: dict[tuple[int, int], int] = {}
        self._unsound: set[Any] = set()
        self.struck = 0
        """The number of the call that failed first."""
        self.met = 0
        self.kinds: list[str] = []
        self.places: list[str] = []
        """What each call was about, relative to `world`."""
        self.retried: list[str] = []
        """Files and folders that were synced again after a sync of theirs had failed."""
        self._numbers = 0
        self._record = None if record is None else self._begun(record)

    # --- the record

    def _begun(self, record: Path) -> Any:
        names: dict[str, int] = {}
        if record.exists():
            for operation in operations(record):
                names = _names_after(names, operation)
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
            names = _names_after({}, base)
            self._numbers = len(names)
        for path, number in names.items():
            state = os.stat(self._world / path)
            self._files[state.st_dev, state.st_ino] = number
        return record.open("ab", buffering=0)

    def _note(self, *operation: Any) -> None:
        if self._record is not None and None not in operation:
            self._record.write(pickle.dumps(operation))

    def _new(self, state: os.stat_result) -> int:
        self._numbers += 1
        self._files[state.st_dev, state.st_ino] = self._numbers
        return self._numbers

    def _file(self, state: os.stat_result) -> int:
        return self._files.get((state.st_dev, state.st_ino), -1)

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
                return written

            known = (state.st_dev, state.st_ino) in self._files or self._record is None
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

            return go() if inside is None else self._meet(kind, path, go, again=(state.st_dev, state.st_ino))

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
        again: Any = None,
        refuse: Callable[[int], _T] | None = None,
    ) -> _T:
        if path is None:
            return go()
        with self._lock:
            self.met += 1
            self.kinds.append(kind)
            self.places.append(path.removeprefix(f"{self._world}/"))
            blow = self._blow
            if blow is not None and self.met == blow.at and blow.kind in ("kill", "tear"):
                if blow.kind == "tear" and half is not None:
                    half()
                os.kill(os.getpid(), signal.SIGKILL)
            if blow is not None and blow.kind == "fail" and self._strikes(blow, kind):
                if half is not None and blow.torn and not self.struck:
                    half()
                self.struck = self.struck or self.met
                if again is not None:
                    self._retry(again, path)
                    self._unsound.add(again)
                if refuse is not None:
                    return refuse(blow.error)
                raise OSError(blow.error, os.strerror(blow.error))
            if again is not None:
                self._retry(again, path)
            return go()

    def _strikes(self, blow: Blow, kind: str) -> bool:
        """Tasks take turns as they like: what stands at `at` may be another call than in the run before, so
        the next one that can meet this error does.
        """
        return self.met >= blow.at and kind in FAILING[blow.error] and (blow.lasting or not self.struck)

    def _retry(self, file: Any, path: str) -> None:
        if file in self._unsound:
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
            code = go(part)
            self._note("write", self._file(os.stat(path)), offset, part)
            return code

        def half() -> None:
            writing(block[: len(block) // 2])

        return self._meet("write", path, writing, half=half, refuse=_full_or("write"))

    def truncated(self, path: str, size: int, go: Callable[[], int]) -> int:
        def cutting() -> int:
            code = go()
            self._note("truncate", self._file(os.stat(path)), size)
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

        file = (state.st_dev, state.st_ino)
        return self._meet("sync", path, syncing, again=file, refuse=_full_or("sync"))

    def deleted(self, path: str, go: Callable[[], int]) -> int:
        inside = self._inside(path)
        if inside is None or not os.path.exists(path):
            return go()

        def deleting() -> int:
            code = go()
            self._note("unlink", inside)
            return code

        return self._meet("unlink", path, deleting, refuse=_full_or("unlink"))

    def folder_synced(self, beside: str) -> None:
        inside = self._inside(os.path.dirname(beside))
        if inside is not None:
            self._note("sync_folder", inside)


def _full_or(kind: str) -> Callable[[int], int]:
    """As SQLite's unix VFS words what the system said."""
    return lambda error: _SQLITE_FULL if kind == "write" and error == ENOSPC else _SQLITE_IOERR[kind]


def _path_of(handle: int) -> str:
    if hasattr(fcntl, "F_GETPATH"):
        return fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{handle}")


def _names_after(names: dict[str, int], operation: Operation) -> dict[str, int]:
    match operation:
        case ("base", files, _):
            return {path: number for number, path in enumerate(sorted(files))}
        case ("create", path, file):
            names[path] = file
        case ("link", source, target):
            names[target] = names[source]
        case ("rename", source, target) if names[source] != names.get(target):  # else nothing happens
            names[target] = names.pop(source)
        case ("unlink", path):
            names.pop(path, None)
    return names
