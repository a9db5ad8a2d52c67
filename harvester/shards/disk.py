"""The disk as a store: every write to an output goes through here, so that it can be recorded, failed and
replayed.

Promises: files 0600, folders 0700, no symlink followed at a file's own name, and nothing called durable
before the file and the folder that names it are synced. Paths are relative to the output folder, with
forward slashes.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from harvester.errors import StorageError

_HASH_BYTES: Final = 1 << 20
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS}


class Disk:
    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def _explained(self, what: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend it"
            raise StorageError(
                f"{path}: cannot {what}: {error.strerror or error}; {hint}, then run again to go on"
            ) from error

    def path(self, relative: str) -> Path:
        return self.root / relative

    def make_folder(self, relative: str) -> None:
        """Makes a folder and those above it, each entered durably into its parent."""
        path = self.root / relative if relative else self.root
        with self._explained("make the folder", path):
            if path.is_dir():
                return
            for folder in [*reversed(path.parents), path]:
                if not folder.is_dir():
                    os.mkdir(folder, 0o700)
                    self._sync_folder(folder.parent)

    def create(self, relative: str) -> IO[bytes]:
        """A new, empty, unbuffered file; whatever stood there under this name is cut to nothing first."""
        path = self.root / relative
        with self._explained("write", path):
            handle = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            return os.fdopen(handle, "wb", buffering=0)

    def write(self, file: IO[bytes], block: bytes, relative: str) -> None:
        with self._explained("write", self.root / relative):
            view = memoryview(block)
            while view:
                view = view[file.write(view) :]

    def close_durably(self, file: IO[bytes], relative: str) -> None:
        """Syncs and closes. A sync that failed is not tried again: the kernel may have dropped the pages."""
        with self._explained("sync", self.root / relative), file:
            os.fsync(file.fileno())

    def sync_folder(self, relative: str) -> None:
        path = self.root / relative if relative else self.root
        with self._explained("sync the folder", path):
            self._sync_folder(path)

    @staticmethod
    def _sync_folder(path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def link(self, source: str, target: str) -> None:
        """Gives a sealed file a second name, replacing what stands there; durable after `sync_folder`."""
        if source == target:
            return
        spare = f"{target}.tmp"
        self.remove(spare)
        with self._explained("publish", self.root / target):
            try:
                os.link(self.root / source, self.root / spare, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._copy(source, spare)
            os.replace(self.root / spare, self.root / target)
        self.remove(spare)  # still there where both were names of one file: then a rename does nothing

    def _copy(self, source: str, target: str) -> None:
        """For file systems without links."""
        with self.create(target) as file, (self.root / source).open("rb") as original:
            while block := original.read(_HASH_BYTES):
                self.write(file, block, target)
            self.close_durably(file, target)

    def replace(self, relative: str, content: bytes) -> None:
        """Writes a whole small file: readers see the old one or the new one, and after a power loss too."""
        spare = f"{relative}.tmp"
        with self.create(spare) as file:
            self.write(file, content, spare)
            self.close_durably(file, spare)
        with self._explained("replace", self.root / relative):
            os.replace(self.root / spare, self.root / relative)
        self.sync_folder(relative.rpartition("/")[0])

    def remove(self, relative: str) -> bool:
        """Whether there was something to remove."""
        path = self.root / relative
        with self._explained("remove", path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
            return True

    def remove_empty_folder(self, relative: str) -> None:
        try:
            os.rmdir(self.root / relative)
        except OSError:
            return

    def files(self, relative: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no folder."""
        path = self.root / relative
        with self._explained("list", path):
            try:
                return sorted(
                    entry.name for entry in os.scandir(path) if not entry.is_dir(follow_symlinks=False)
                )
            except FileNotFoundError:
                return []

    def sha256(self, relative: str) -> str:
        path = self.root / relative
        with self._explained("read", path), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
