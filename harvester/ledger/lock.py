"""One writer for an output, by a lock on `OUT/_harvest/lock`. Where there are no locks there is no run."""

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from harvester.errors import Locked, StorageError
from harvester.shards.disk import Disk

NAME: Final = "lock"
_HELD: Final = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What file systems over a network say that have no locks, or whose lock server is away."""
_TRIES: Final = 3
_TRY_S: Final = 0.02


def is_held(home: Path) -> bool:
    """Whether a run is at work on the output."""
    try:
        file = os.open(home / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        return error.errno in _HELD
    finally:
        os.close(file)


class Lock:
    """Holds an output for one writer. Freed by the kernel when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._file = -1

    def __enter__(self) -> Self:
        try:
            for _ in range(_TRIES):
                self._file = Disk(self._path.parent.parent).open_or_create(f"{self._path.parent.name}/{NAME}")
                self._take()
                if self._is_in_place():
                    return self
                self._close()
        except OSError as error:
            opened = self._file >= 0
            self._close()
            if opened and error.errno in _HELD:
                raise Locked(
                    f"{self._path.parent.parent}: another run holds this output; wait for it to end, then "
                    "run again, or choose another output.url"
                ) from None
            if opened and error.errno in _NO_LOCKS:
                raise StorageError(
                    f"{self._path}: cannot be locked ({error.strerror}), and without a lock two runs would "
                    "spoil the output; choose an output.url on a local disk, or mount this one with locks"
                ) from error
            raise StorageError(
                f"{self._path}: cannot be locked: {error.strerror}; see that its folder can be written, then "
                "run again"
            ) from error
        raise StorageError(
            f"{self._path}: is replaced by another file again and again; stop what does it, run again"
        )

    def _is_in_place(self) -> bool:
        """Whether the next one would lock this very file: somebody may have removed it meanwhile."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def __exit__(self, *_: object) -> None:
        self._close()

    def _take(self) -> None:
        """Tried for a moment, since `is_held` holds the lock for the blink of an eye."""
        for attempt in range(_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(_TRY_S)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
