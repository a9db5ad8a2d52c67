"""The disk as a store: every path of an output is opened, made, replaced and removed here.

Promises: nothing below the output folder is reached through a symlink, neither the last name nor a folder on
the way; and nothing is called durable before the file and the folder that names it are synced. Paths are
relative to the output folder, with forward slashes. The output folder itself may be a symlink: that is the
user's choice.
"""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from harvester import syscalls
from harvester.errors import StorageError
from harvester.shards import naming

_HASH_BYTES: Final = 1 << 20
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS}
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # for a pipe: not to wait for who writes to it
_A_LINK: Final = "a link stands in its place, and none is followed inside an output"
_NO_FILE: Final = "a pipe or a device stands in the place of a file"
_HINTS: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EINVAL: "remove it",
    errno.EACCES: "see that you may",
    errno.EPERM: "see that you may",
    errno.EROFS: "see that the disk can be written",
    errno.EIO: "mend the disk",
    errno.EISDIR: "a folder stands in the place of a file: move it away",
    errno.EEXIST: "something stands in its place: move it away",
    errno.ELOOP: "no link is followed inside an output: remove it",
    errno.ENOTDIR: "a link or a file stands in the place of a folder: remove it",
}


def plain(path: Path) -> Path:
    """`path` itself, of an output, to be read. OSError where neither a file nor a folder stands, since who
    reads a pipe waits for ever; and where a link does, or one in the place of a folder that outputs have: it
    may lead anywhere.
    """
    for place in (path, *_own_folders(path)):
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, _A_LINK, str(place))
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, _NO_FILE)
    return path


def _own_folders(path: Path) -> Iterator[Path]:
    """Those between the output folder, which may be a link, and a path in it."""
    for folder in list(path.parents)[:2]:
        if folder.name.startswith("dt=") or "_harvest" in (folder.name, folder.parent.name):
            yield folder


class Disk:
    """One output, for one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entered: set[str] = set()
        """Folders whose entry in their parent this Disk has made durable."""
        self._doubtful: set[str] = set()
        """Folders whose sync failed: another try may succeed without having written anything."""

    @contextmanager
    def _explained(self, what: str, relative: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, "see to it")
            raise StorageError(
                f"{self.path(relative)}: cannot {what}: {error.strerror or error}; {hint}, then run again to "
                "go on"
            ) from error

    def path(self, relative: str) -> Path:
        return self.root / relative if relative else self.root

    @contextmanager
    def _folder(self, relative: str) -> Iterator[int]:
        """The folder, opened one name after the other: O_NOFOLLOW looks at the last name only."""
        if ".." in relative.split("/"):
            raise OSError(errno.EINVAL, "that leads out of the output")
        handle = os.open(self.root, _FOLDER)
        try:
            for name in filter(None, relative.split("/")):
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _beside(self, relative: str) -> Iterator[tuple[int, str]]:
        """The folder of a file, open, and the file's name in it."""
        folder, _, name = relative.rpartition("/")
        with self._folder(folder) as handle:
            yield handle, name

    # --- folders

    def make_folder(self, relative: str) -> None:
        """Makes a folder and those above it, each entered durably into its parent: also where it is there
        already, since a run that was killed may have made it and not synced.
        """
        with self._explained("make the folder", relative):
            if "" not in self._entered:
                self._make_root()
                self._entered.add("")
            made = ""
            for name in filter(None, relative.split("/")):
                above, made = made, f"{made}/{name}".lstrip("/")
                if made not in self._entered:
                    with self._folder(above) as handle:
                        with suppress(FileExistsError):
                            syscalls.make_folder(name, folder=handle)
                        self._sync(above, handle)
                    self._entered.add(made)
            with self._folder(relative):
                pass  # it is a folder, and no link to one

    def _make_root(self) -> None:
        root = self.root.absolute()
        above = [*reversed(root.parents)]
        for folder in [*above, root]:
            if not folder.is_dir():
                syscalls.make_folder(folder)
        device = root.stat().st_dev
        for folder in above:
            if folder.stat().st_dev == device:
                self._sync_above(folder)

    def _sync_above(self, folder: Path) -> None:
        """Folders that are not ours to read were not made by us either."""
        try:
            handle = os.open(folder, _FOLDER)
        except PermissionError:
            return
        try:
            syscalls.sync(handle)
        finally:
            os.close(handle)

    def sync_folder(self, relative: str) -> None:
        with self._explained("sync the folder", relative), self._folder(relative) as handle:
            self._sync(relative, handle)

    def _sync(self, relative: str, handle: int) -> None:
        if relative in self._doubtful:
            raise OSError(errno.EIO, "an earlier sync of this folder failed")
        try:
            syscalls.sync(handle)
        except OSError:
            self._doubtful.add(relative)
            raise

    # --- files

    def create(self, relative: str) -> IO[bytes]:
        """A new, empty, unbuffered file; whatever stood there under this name is unlinked first, so that
        another name of it keeps its content.
        """
        with self._explained("write", relative), self._beside(relative) as (folder, name):
            try:
                handle = syscalls.create(name, folder=folder)
            except FileExistsError:
                syscalls.unlink(name, folder=folder)
                handle = syscalls.create(name, folder=folder)
        return cast(IO[bytes], _Written(self, handle, relative))

    def write(self, file: IO[bytes], block: bytes, relative: str) -> None:
        file.write(block)

    def close_durably(self, file: IO[bytes], relative: str) -> None:
        """Syncs and closes. A sync that failed is not tried again: the kernel may have dropped the pages."""
        with self._explained("sync", relative), file:
            syscalls.sync(file.fileno())

    def open_or_create(self, relative: str) -> int:
        """A descriptor for reading and writing, of the file that is there or of a new one, durably named."""
        with self._explained("open", relative), self._beside(relative) as (folder, name):
            try:
                return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                handle = syscalls.create(name, folder=folder)
            try:
                self._sync(relative.rpartition("/")[0], folder)
            except OSError:
                os.close(handle)
                raise
            return handle

    def link(self, source: str, target: str) -> None:
        """Gives a sealed file a second name, replacing what stands there; durable after `sync_folder`."""
        if source == target:
            return
        spare = naming.spare(target)
        self.remove(spare)  # ours: who publishes has looked
        with (
            self._explained("publish", target),
            self._beside(source) as (there, old),
            self._beside(target) as (here, new),
        ):
            try:
                syscalls.link(old, naming.spare(new), source_folder=there, target_folder=here)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._copy(source, spare)
            syscalls.rename(naming.spare(new), new, folder=here)
        self.remove(spare)  # still there where both were names of one file: then a rename does nothing

    def _copy(self, source: str, target: str) -> None:
        """For file systems without links."""
        with self.create(target) as file, self.read(source) as original:
            while block := original.read(_HASH_BYTES):
                self.write(file, block, target)
            self.close_durably(file, target)

    def separate(self, relative: str) -> None:
        """Gives a file that has further names a copy of its own under this one; they keep the file. Does
        nothing where there is no such file, or it has no other name.
        """
        with self._explained("copy", relative):
            try:
                with self._beside(relative) as (folder, name):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return
        if found.st_nlink < 2 or not stat.S_ISREG(found.st_mode):
            return
        self._copy(relative, naming.spare(relative))
        self._rename_spare(relative)

    def replace(self, relative: str, content: bytes) -> None:
        """Writes a whole small file: readers see the old one or the new one, and after a power loss too."""
        spare = naming.spare(relative)
        with self.create(spare) as file:
            self.write(file, content, spare)
            self.close_durably(file, spare)
        self._rename_spare(relative)

    def _rename_spare(self, relative: str) -> None:
        with self._explained("replace", relative), self._beside(relative) as (folder, name):
            syscalls.rename(naming.spare(name), name, folder=folder)
        self.sync_folder(relative.rpartition("/")[0])

    def remove(self, relative: str) -> bool:
        """Whether there was something to remove."""
        with self._explained("remove", relative):
            try:
                with self._beside(relative) as (folder, name):
                    syscalls.unlink(name, folder=folder)
            except FileNotFoundError:
                return False
            return True

    def remove_empty_folder(self, relative: str) -> None:
        with suppress(OSError), self._beside(relative) as (folder, name):
            syscalls.remove_folder(name, folder=folder)
            self._entered.discard(relative)

    # --- reading

    def files(self, relative: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no folder."""
        with self._explained("list", relative):
            try:
                with self._folder(relative) as handle, os.scandir(handle) as entries:
                    return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                return []

    def size(self, relative: str) -> int:
        """In bytes; -1 where there is no such file. StorageError where a link stands in its place."""
        with self._explained("read", relative):
            try:
                with self._beside(relative) as (folder, name):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return -1
            if stat.S_ISLNK(found.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return found.st_size

    def is_there(self, relative: str) -> bool:
        """Whether anything stands there: a file, a folder, a link to nowhere."""
        with self._explained("read", relative):
            try:
                with self._beside(relative) as (folder, name):
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def content(self, relative: str) -> bytes | None:
        """Of a small file; None where no file of our own making stands."""
        try:
            with self._beside(relative) as (folder, name), self._opened(name, folder) as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL):
                return None
            with self._explained("read", relative):
                raise

    def read(self, relative: str) -> io.BufferedReader:
        with self._explained("read", relative), self._beside(relative) as (folder, name):
            return self._opened(name, folder)

    @staticmethod
    def _opened(name: str, folder: int) -> io.BufferedReader:
        handle = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, _NO_FILE)
        return open(handle, "rb")

    def sha256(self, relative: str) -> str:
        with self._explained("read", relative), self.read(relative) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _Written(io.RawIOBase):
    """A file of a Disk under way. `write` takes all of a block or raises StorageError."""

    def __init__(self, disk: Disk, handle: int, relative: str) -> None:
        self._disk = disk
        self._handle = handle
        self._relative = relative

    def fileno(self) -> int:
        return self._handle

    def writable(self) -> bool:
        return True

    def write(self, block: Any, /) -> int:
        with self._disk._explained("write", self._relative):
            syscalls.write_all(self._handle, block)
        return memoryview(block).nbytes

    def close(self) -> None:
        if not self.closed:
            os.close(self._handle)
        super().close()
