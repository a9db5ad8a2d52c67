"""The system calls that change a disk; nothing else in this program makes them.

Shards, manifest, lock, the ledger's file, spilled rows, quarantine, summary: whatever is written goes through
these functions, called as `syscalls.write(...)`, so that a test can record each call, fail it, or kill the
process at it. SQLite makes its own calls, which the tests meet in its VFS.

A new file is 0600 and a new folder 0700 whatever the umask; a file is made new or not at all, and no symlink
is followed at the last name. `folder` is an open folder that the name is relative to.
"""

import os
import stat
from pathlib import Path
from typing import Final

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(name: str | Path, *, folder: int | None = None) -> int:
    """A descriptor of a new, empty file. FileExistsError where the name is taken."""
    handle = os.open(name, os.O_RDWR | _NEW, _FILE_MODE, dir_fd=folder)
    if stat.S_IMODE(os.fstat(handle).st_mode) != _FILE_MODE:
        os.fchmod(handle, _FILE_MODE)
    return handle


def write(file: int, block: bytes | memoryview) -> int:
    """How many bytes were written, which may be fewer than were given."""
    return os.write(file, block)


def sync(file: int) -> None:
    """Of a file or a folder. One that failed must not be tried again: the kernel may have dropped the pages
    and would then report success.
    """
    os.fsync(file)


def make_folder(name: str | Path, *, folder: int | None = None) -> None:
    os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
    if stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) != _FOLDER_MODE:
        os.chmod(name, _FOLDER_MODE, dir_fd=folder)


def link(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)


def rename(source: str | Path, target: str | Path, *, folder: int | None = None) -> None:
    """Within one folder; replaces what stands under the target's name."""
    os.replace(source, target, src_dir_fd=folder, dst_dir_fd=folder)


def unlink(name: str | Path, *, folder: int | None = None) -> None:
    os.unlink(name, dir_fd=folder)


def remove_folder(name: str | Path, *, folder: int | None = None) -> None:
    os.rmdir(name, dir_fd=folder)


def write_all(file: int, block: bytes | memoryview) -> None:
    view = memoryview(block).cast("B")
    while view:
        view = view[write(file, view) :]
